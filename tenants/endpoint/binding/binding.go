package binding

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxValue is the largest value that is read, in bytes. A larger one is an error.
const MaxValue = 16 << 20

// Request is one call of a binding. Data is JSON, or nil.
type Request struct {
	Operation string
	Data      json.RawMessage
	Metadata  map[string]string // names are compared in any case; key is the first that is read as it stands
}

// Answer is what an operation gives.
type Answer struct {
	Data     []byte            // of operations that answer something
	Answers  bool              // the operation answers something, be it empty
	JSON     bool              // Data is JSON of ours, not a stored value
	Metadata map[string]string // such as value, what an increment has come to
}

// Retry says how an operation is tried again when Redis could not be reached, or was starting. The zero value does not.
type Retry struct {
	Times    int
	Min, Max time.Duration // the pause doubles from one to the other
}

type operation struct {
	run   func(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error)
	twice bool   // doing it a second time changes nothing
	needs string // the metadata that names what it is done to; "" means key
}

var operations = map[string]operation{
	"create":    {run: create, twice: true},
	"get":       {run: get}, // twice unless it deletes
	"delete":    {run: remove, twice: true},
	"increment": {run: increment},
	"expire":    {run: expire, twice: true},
	"hget":      {run: hget, twice: true},
	"hset":      {run: hset, twice: true},
	"zadd":      {run: zadd, twice: true},
	"xadd":      {run: xadd},
	"publish":   {run: publish, needs: "channel"},
}

// Operations are the names of all there are, sorted.
func Operations() []string { return slices.Sorted(maps.Keys(operations)) }

// Errors that a client is told as Dapr tells them.
var (
	ErrNoKey = errors.New("redis binding: missing key in request metadata")
	errTTL   = errors.New("ttl is neither a duration above zero, such as 500ms, nor a whole number of seconds above zero")
)

// UnknownOperation is the error of an operation that there is not.
type UnknownOperation string

func (o UnknownOperation) Error() string {
	return fmt.Sprintf("operation %.60q is not supported. supported operations:%s", string(o), strings.Join(Operations(), " "))
}

// Do carries out a request. What a retry could do twice is tried again only where the command did not leave: a lost answer of an increment is an
// error.
func Do(ctx context.Context, c redis.UniversalClient, retry Retry, r Request) (Answer, error) {
	o, ok := operations[r.Operation]
	if !ok {
		return Answer{}, UnknownOperation(r.Operation)
	}
	name := "key"
	if o.needs != "" {
		name = o.needs
	}
	key := r.Metadata[name]
	if key == "" && name != "key" {
		return Answer{}, fmt.Errorf("redis binding: missing %s in request metadata", name)
	}
	if key == "" {
		return Answer{}, ErrNoKey
	}
	twice := o.twice || r.Operation == "get" && !r.deletes()
	for n := 0; ; n++ {
		a, err := o.run(ctx, c, &r, key)
		if err == nil || n >= retry.Times || !again(ctx, err, twice) || !retry.pause(ctx, n) {
			return a, err
		}
	}
}

func (r *Request) deletes() bool { return r.Metadata["delete"] == "true" }

func (r *Request) option(name string) string {
	if v, ok := r.Metadata[name]; ok {
		return v
	}
	for k, v := range r.Metadata {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// ttl is 0 where none is asked for.
func (r *Request) ttl() (time.Duration, error) {
	text := r.option("ttl")
	if text == "" {
		text = r.option("ttlInSeconds")
	}
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n > int64(1<<62/time.Second) {
			return 0, errTTL
		}
		d = time.Duration(n) * time.Second
	}
	if d <= 0 {
		return 0, errTTL
	}
	return max(d.Round(time.Millisecond), time.Millisecond), nil
}

// stored is what Dapr keeps of JSON data: its text without spaces, a string with its quotes, null for none. Numbers and order stay as they are.
func (r *Request) stored() ([]byte, error) {
	if len(r.Data) == 0 {
		return []byte("null"), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, r.Data); err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	return b.Bytes(), nil
}

// Plain is data as a message has it: a string's text, and of anything else the JSON.
func Plain(raw json.RawMessage) []byte {
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return []byte(text)
	}
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

func create(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	ttl, err := r.ttl()
	if err != nil {
		return Answer{}, err
	}
	value, err := r.stored()
	if err != nil {
		return Answer{}, err
	}
	return Answer{}, c.Set(ctx, key, value, ttl).Err()
}

func get(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	if r.deletes() {
		return read(ctx, c, "getdel", "strlen", key)
	}
	return read(ctx, c, "get", "strlen", key)
}

func remove(ctx context.Context, c redis.UniversalClient, _ *Request, key string) (Answer, error) {
	return Answer{}, c.Del(ctx, key).Err()
}

func increment(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	ttl, err := r.ttl()
	if err != nil {
		return Answer{}, err
	}
	var n *redis.IntCmd
	if ttl == 0 {
		n = c.Incr(ctx, key)
	} else {
		_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			n = p.Incr(ctx, key)
			p.PExpire(ctx, key, ttl)
			return nil
		})
	}
	if n.Err() != nil || err != nil {
		return Answer{}, errors.Join(n.Err(), unlessSame(err, n.Err()))
	}
	return Answer{Metadata: map[string]string{"value": strconv.FormatInt(n.Val(), 10)}}, nil
}

func unlessSame(err, as error) error {
	if err != nil && as != nil && err.Error() == as.Error() {
		return nil
	}
	return err
}

func expire(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	ttl, err := r.ttl()
	if err == nil && ttl == 0 {
		err = errors.New("redis binding: missing ttl in request metadata")
	}
	if err != nil {
		return Answer{}, err
	}
	return told(c.PExpire(ctx, key, ttl).Result())
}

func hget(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	field := r.option("field")
	if field == "" {
		return Answer{}, errors.New("redis binding: missing field in request metadata")
	}
	return read(ctx, c, "hget", "hstrlen", key, field)
}

func hset(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	if field := r.option("field"); field != "" {
		return told(c.HSet(ctx, key, field, Plain(r.Data)).Result())
	}
	pairs, err := members(r.Data)
	if err != nil {
		return Answer{}, err
	}
	return told(c.HSet(ctx, key, pairs...).Result())
}

func xadd(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	add := redis.XAddArgs{Stream: key, Approx: true}
	if text := r.option("maxlen"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return Answer{}, errors.New("maxlen is no number above zero")
		}
		add.MaxLen = n
	}
	pairs, err := members(r.Data)
	if err != nil { // anything but an object is one field
		pairs = []any{"data", Plain(r.Data)}
	}
	add.Values = pairs
	return told(c.XAdd(ctx, &add).Result())
}

func zadd(ctx context.Context, c redis.UniversalClient, r *Request, key string) (Answer, error) {
	pairs, err := members(r.Data)
	if err != nil {
		return Answer{}, err
	}
	args := []any{"zadd", key}
	for i := 0; i < len(pairs); i += 2 {
		args = append(args, pairs[i+1], pairs[i]) // the score as it was written: Redis reads it
	}
	return told(c.Do(ctx, args...).Int64())
}

func publish(ctx context.Context, c redis.UniversalClient, r *Request, channel string) (Answer, error) {
	return told(c.Publish(ctx, channel, Plain(r.Data)).Result())
}

// told answers a result as JSON.
func told[T any](v T, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	b, err := json.Marshal(v)
	return Answer{Data: b, Answers: true, JSON: true}, err
}

// maxMembers bounds an object's members.
const maxMembers = 10_000

// members are the names and values of an object, in its order.
func members(raw json.RawMessage) (pairs []any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("data is not an object of names and values")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read data: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("read data: %w", err)
		}
		if pairs = append(pairs, name, Plain(value)); len(pairs) > 2*maxMembers {
			return nil, fmt.Errorf("data has more than %d members", maxMembers)
		}
	}
	if len(pairs) == 0 {
		return nil, errors.New("data is an empty object")
	}
	return pairs, nil
}
