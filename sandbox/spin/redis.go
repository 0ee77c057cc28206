package spin

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/tenloom/tenloom/sandbox/outbound"
)

// failure is an error that a Redis operation answers; nil is success. The order is that of the WIT's variant.
type failure struct {
	tag  uint8
	text string // of otherFailure
}

const (
	invalidAddress uint8 = iota
	tooManyConnections
	typeFailure
	otherFailure
)

func otherf(format string, args ...any) *failure {
	return &failure{otherFailure, fmt.Sprintf(format, args...)}
}

// connection is a pooled client in a guest's hands.
type connection struct {
	client  redis.UniversalClient
	release func()
	address string
}

// connect asks the Gate for the way to address. It proves that the server answers, unless the pool holds a connection already: Spin
// dials here, and guests expect a dead server to show.
func (g *caller) connect(address string) (connection, *failure) {
	gate := g.call.host.Gate
	if gate == nil {
		return connection{}, &failure{tag: invalidAddress}
	}
	client, release, err := gate.Redis(g.ctx, address)
	if err != nil {
		g.ended()
		return connection{}, connectFailure(address, err)
	}
	c := connection{client, release, address}
	if client.PoolStats().IdleConns > 0 {
		return c, nil
	}
	alive := false
	defer func() { // also where ctx ends here and unwinds the guest
		if !alive {
			release()
		}
	}()
	var refused *serverError
	if _, _, err := g.command(c, "PING"); err != nil && !errors.As(err, &refused) {
		return connection{}, c.failure(err, nil)
	}
	alive = true
	return c, nil
}

func connectFailure(address string, err error) *failure {
	var denied *outbound.Denied
	switch {
	case errors.As(err, &denied), errors.Is(err, outbound.ErrInvalidAddress):
		return &failure{tag: invalidAddress}
	case errors.Is(err, outbound.ErrTooManyConnections):
		return &failure{tag: tooManyConnections}
	}
	return otherf("%s", redact(address, err.Error()))
}

// redact takes the password of address out of text.
func redact(address, text string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		_, raw, _ := strings.Cut(u.User.String(), ":")
		for _, secret := range []string{password, raw} {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, "[redacted]")
			}
		}
		return text
	}
	if _, user, found := strings.Cut(address, "://"); found {
		address = user
	}
	if at := strings.LastIndexByte(address, '@'); at > 0 { // not a URL: what stands before the host may be a password
		if _, secret, _ := strings.Cut(address[:at], ":"); secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// failure translates an error of command. typed says which server errors the operation answers with type-error.
func (c connection) failure(err error, typed func(text string) bool) *failure {
	var server *serverError
	if errors.As(err, &server) && typed != nil && typed(server.text) {
		return &failure{tag: typeFailure}
	}
	return otherf("%s", redact(c.address, err.Error()))
}

func wrongType(text string) bool { return strings.HasPrefix(text, "WRONGTYPE") }

func notInteger(text string) bool {
	return wrongType(text) || strings.Contains(text, "value is not an integer or out of range")
}

// command runs one command and reads the head of its reply, valid until the next command.
func (g *caller) command(c connection, args ...any) (item, items, error) {
	call := g.call
	buf := call.reply
	call.reply = nil
	out := Outcall{Operation: operation(args[0]), Server: g.server(c.address), Began: time.Now(), Span: call.given}
	raw, err := roundTrip(g.ctx, c.client, buf, call.limits.ResultBytes, args)
	out.Failed = err != nil || len(raw) > 0 && (raw[0] == '-' || raw[0] == '!')
	g.called(out)
	call.given = [8]byte{}
	if err != nil {
		g.ended()
		if errors.Is(err, errReplyTooBig) {
			g.receives(int(call.limits.ResultBytes))
			err = errors.New(tooBig(call.limits.ResultBytes))
		}
		return item{}, items{}, err
	}
	g.receives(len(raw))
	if cap(raw) <= keepReply {
		call.reply = raw
	}
	return first(raw)
}

// tooBig is the text that Spin uses for its own cap.
func tooBig(limit int64) string { return fmt.Sprintf("query result exceeds limit of %d bytes", limit) }

func unexpected(it item) *failure { return otherf("unexpected reply from Redis (kind %d)", it.kind) }

func (g *caller) publish(c connection, channel string, payload []byte) *failure {
	if call := g.call; call.host.Wrap != nil {
		payload, call.given = call.host.Wrap(call.attributes, payload)
	}
	if _, _, err := g.command(c, "PUBLISH", channel, payload); err != nil {
		return c.failure(err, nil)
	}
	return nil
}

// get answers a view of the value, valid until the next command.
func (g *caller) get(c connection, key string) (value []byte, found bool, f *failure) {
	it, _, err := g.command(c, "GET", key)
	switch {
	case err != nil:
		return nil, false, c.failure(err, wrongType)
	case it.kind == nilItem:
		return nil, false, nil
	case it.kind != bulkItem:
		return nil, false, unexpected(it)
	}
	return it.text, true, nil
}

func (g *caller) set(c connection, key string, value []byte) *failure {
	if _, _, err := g.command(c, "SET", key, value); err != nil {
		return c.failure(err, wrongType)
	}
	return nil
}

// integer runs a command that answers a number.
func (g *caller) integer(c connection, typed func(string) bool, args ...any) (int64, *failure) {
	it, _, err := g.command(c, args...)
	if err != nil {
		return 0, c.failure(err, typed)
	}
	if it.kind != integerItem {
		return 0, unexpected(it)
	}
	return it.n, nil
}

func (g *caller) incr(c connection, key string) (int64, *failure) {
	return g.integer(c, notInteger, "INCRBY", key, 1)
}

// members answers views of the set's members, valid until the next command.
func (g *caller) members(c connection, key string) ([][]byte, *failure) {
	it, rest, err := g.command(c, "SMEMBERS", key)
	if err != nil {
		return nil, c.failure(err, wrongType)
	}
	if it.kind == nilItem {
		return nil, nil
	}
	if it.kind != arrayItem {
		return nil, unexpected(it)
	}
	var members [][]byte
	for range it.n {
		m, err := rest.next()
		switch {
		case err != nil:
			return nil, otherf("%v", err)
		case m.kind != bulkItem:
			return nil, unexpected(m)
		case !utf8.Valid(m.text):
			return nil, otherf("a member of the set is not valid UTF-8; read it with execute")
		}
		members = append(members, m.text)
	}
	return members, nil
}

// lowerMembers makes a list<string> of them.
func (g *guest) lowerMembers(members [][]byte) span {
	list := g.newArea(4, uint64(len(members))*8)
	for i, m := range members {
		list.part(uint64(i)*8).span(0, lower(g, m))
	}
	return span{list.at, uint32(len(members))}
}

// connectionCommands change the state of their connection. Pooled connections are shared by the components of a tenant, so these are
// refused in execute: a SELECT of one guest must not move the keys of another, and a SUBSCRIBE would break the replies of all that follow.
var connectionCommands = []string{
	"ASKING", "AUTH", "DISCARD", "EXEC", "HELLO", "MONITOR", "MULTI", "PSUBSCRIBE", "PSYNC", "PUNSUBSCRIBE", "QUIT", "READONLY",
	"READWRITE", "REPLCONF", "RESET", "SELECT", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC", "UNSUBSCRIBE", "UNWATCH", "WATCH",
}

// clientCommands are the subcommands of CLIENT that do.
var clientCommands = []string{"CACHING", "NO-EVICT", "NO-TOUCH", "REPLY", "SETINFO", "SETNAME", "TRACKING"}

// refused says whether a command may not be run on a shared connection.
func refused(command string, arguments []any) *failure {
	name := strings.ToUpper(command)
	if slices.Contains(connectionCommands, name) {
		return otherf("%s changes the state of the connection, which is shared: use EVAL for a transaction, the address for a database or a user", name)
	}
	if name == "CLIENT" && len(arguments) > 0 {
		if sub := strings.ToUpper(argumentText(arguments[0])); slices.Contains(clientCommands, sub) {
			return otherf("CLIENT %s changes the state of the connection, which is shared", sub)
		}
	}
	return nil
}

func argumentText(a any) string {
	b, _ := a.([]byte)
	return string(b)
}

// parameters copies the list<redis-parameter> in slots i and i+1: elements of 16 bytes, tag at 0, s64 or (pointer, length) at 8.
func (g *guest) parameters(s stack, i int) []any {
	const what = "arguments"
	elements, charge := g.list(s, i, 16, 8, what)
	out := make([]any, 0, len(elements)/16+1)
	for ; len(elements) > 0; elements = elements[16:] {
		switch tag := elements[0]; tag {
		case 0:
			n := int64(u32At(elements, 8)) | int64(u32At(elements, 12))<<32
			charge(8)
			out = append(out, strconv.AppendInt(nil, n, 10))
		case 1:
			p, n := u32At(elements, 8), u32At(elements, 12)
			charge(int(n))
			g.sends(int(n))
			out = append(out, append([]byte{}, g.view(p, n, what)...))
		default:
			g.trap("%s: redis-parameter has no case %d", what, tag)
		}
	}
	return out
}

// reply is what execute has read: its first item, the rest, and of how many results it consists.
type reply struct {
	first item
	rest  items
	n     uint64
}

// run runs any command. The reply is valid until the next command, and walked twice rather than made a list: one of millions of small integers
// costs its bytes here, no more.
func (g *caller) run(c connection, command string, arguments []any) (reply, *failure) {
	if f := refused(command, arguments); f != nil {
		return reply{}, f
	}
	it, rest, err := g.command(c, slices.Insert(arguments, 0, any(command))...)
	if err != nil {
		return reply{}, c.failure(err, nil)
	}
	n, err := countResults(it, rest, g.call.limits.ResultBytes)
	if err != nil {
		return reply{}, c.failure(err, nil)
	}
	return reply{it, rest, n}, nil
}

// execute runs any command and lowers its reply, flattened, to a list<redis-result>.
func (g *guest) execute(c connection, command string, arguments []any) (span, *failure) {
	r, f := g.run(c, command, arguments)
	if f != nil {
		return span{}, f
	}
	list := g.newArea(8, r.n*16)
	var at uint64
	err := flatten(r.first, r.rest, func(it item) error {
		g.lowerResult(list.part(at), it)
		at += 16
		return nil
	})
	if err != nil {
		return span{}, otherf("%v", err)
	}
	return span{list.at, uint32(r.n)}, nil
}

// unsupported are the items that no redis-result can hold, with Spin's texts.
var unsupported = map[itemKind]string{
	mapItem:       "Redis Map type is not supported",
	attributeItem: "Redis Attribute type is not supported",
	verbatimItem:  "Redis string with format attribute is not supported",
	pushItem:      "Redis Pub/Sub types are not supported",
}

// countResults finds the number of results, and what none of them may be.
func countResults(it item, rest items, limit int64) (n uint64, err error) {
	left := limit
	err = flatten(it, rest, func(it item) error {
		n++
		if left -= 16 + int64(len(it.text)); left < 0 {
			return errors.New(tooBig(limit))
		}
		if it.kind == errorItem {
			return &serverError{string(it.text)}
		}
		if text, found := unsupported[it.kind]; found {
			return errors.New(text)
		}
		return nil
	})
	return n, err
}

// flatten calls leaf for each item that is no array or set, in order.
func flatten(it item, rest items, leaf func(item) error) error {
	for left := int64(1); ; {
		left--
		if it.kind == arrayItem {
			if it.n > int64(len(rest.rest)) || left > math.MaxInt64-it.n {
				return errReplyBroken
			}
			left += it.n
		} else if err := leaf(it); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		var err error
		if it, err = rest.next(); err != nil {
			return err
		}
	}
}

// The cases of redis-result.
const (
	nilResult uint8 = iota
	statusResult
	int64Result
	binaryResult
)

// result gives the case of redis-result that an item is, and the bytes of a status or binary.
func (it item) result() (tag uint8, text []byte) {
	switch it.kind {
	case nilItem:
		return nilResult, nil
	case statusItem:
		return statusResult, bytes.ToValidUTF8(it.text, []byte("\uFFFD"))
	case integerItem:
		return int64Result, nil
	case doubleItem:
		return binaryResult, []byte(doubleText(string(it.text)))
	}
	return binaryResult, it.text
}

// lowerResult writes one redis-result: tag at 0, payload at 8.
func (g *guest) lowerResult(a area, it item) {
	tag, text := it.result()
	var s span
	if tag == statusResult || tag == binaryResult {
		s = lower(g, text)
	}
	a.u8(0, tag)
	switch tag {
	case int64Result:
		a.u64(8, uint64(it.n))
	case statusResult, binaryResult:
		a.span(8, s)
	}
}

// doubleText writes a RESP3 double as Spin does: all digits, no exponent, inf, -inf, NaN.
func doubleText(text string) string {
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return text
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
