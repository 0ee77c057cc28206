package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of the read side of one connection.
const (
	readBuffer = 256 << 10 // bytes of the standing buffer: fewer reads than with 64 KiB, and no gain above
	maxFrame   = 8 << 20   // bytes of one message frame, payload and names included; a larger one closes the connection
	maxReply   = 128 << 10 // bytes of anything else, which is an ack with a name of at most maxName bytes; a larger one closes the connection
	maxBatch   = 4096      // frames handed over at once; more in one read are handed over in several calls
	maxNesting = 8         // of arrays in a reply; deeper closes the connection
)

var (
	errMalformed = errors.New("malformed frame")
	errTooLarge  = errors.New("frame is too large")
)

// frame is one message as it came from Redis. Its slices point into the reader's buffer, are capped, and die at the next read.
type frame struct {
	kind                      byte // 'm' message, 'p' pmessage, 's' smessage
	pattern, channel, payload []byte
}

// parse reads the frame at the start of b. n is its length; 0 without an error means that it is not whole yet and nothing is consumed. A
// frame that is no message leaves f.kind 0. RESP 2 arrays and RESP 3 pushes differ in their first byte alone.
func parse(b []byte, f *frame) (n int, err error) {
	if len(b) > 18 && (b[0] == '*' || b[0] == '>') {
		switch string(b[1:17]) {
		case "3\r\n$7\r\nmessage\r\n":
			return message(b, 17, 'm', f)
		case "4\r\n$8\r\npmessage\r":
			if b[17] == '\n' {
				return message(b, 18, 'p', f)
			}
		case "3\r\n$8\r\nsmessage\r":
			if b[17] == '\n' {
				return message(b, 18, 's', f)
			}
		}
	}
	f.kind = 0
	n, err = skip(b, 0, 0)
	if err == nil && n == 0 && len(b) > maxReply {
		err = fmt.Errorf("%w: a reply of more than %d bytes", errTooLarge, maxReply)
	}
	return n, err
}

// message reads what follows the type of a message frame.
func message(b []byte, i int, kind byte, f *frame) (int, error) {
	f.kind, f.pattern = kind, nil
	var err error
	if kind == 'p' {
		if f.pattern, i, err = bulk(b, i); i == 0 {
			return 0, err
		}
	}
	if f.channel, i, err = bulk(b, i); i == 0 {
		return 0, err
	}
	f.payload, i, err = bulk(b, i)
	return i, err
}

// bulk reads "$<length>\r\n<bytes>\r\n" at b[i:] and returns the index behind it; 0 means not whole yet or, with an error, malformed. The
// length is held against the bound before it is used.
func bulk(b []byte, i int) ([]byte, int, error) {
	if i >= len(b) {
		return nil, 0, nil
	}
	if b[i] != '$' {
		return nil, 0, errMalformed
	}
	i++
	first, size := i, 0
	for i < len(b) {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if size = size*10 + int(c); size > maxFrame-i {
			return nil, 0, fmt.Errorf("%w: a message of more than %d bytes", errTooLarge, maxFrame)
		}
		if i++; i-first > 10 { // zeros in front
			return nil, 0, errMalformed
		}
	}
	switch {
	case i == len(b):
		return nil, 0, nil
	case i == first || b[i] != '\r':
		return nil, 0, errMalformed
	case i+1 == len(b):
		return nil, 0, nil
	case b[i+1] != '\n':
		return nil, 0, errMalformed
	}
	start := i + 2
	end := start + size
	if end+2 > len(b) {
		return nil, 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return nil, 0, errMalformed
	}
	return b[start:end:end], end + 2, nil
}

// skip finds the end of any RESP 2 or 3 value at b[i:]: acks, pongs, errors, pushes of other kinds. It is off the message path.
func skip(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return 0, nil
	}
	if depth > maxNesting {
		return 0, fmt.Errorf("%w: nested deeper than %d", errMalformed, maxNesting)
	}
	eol := bytes.IndexByte(b[i:], '\n')
	kind := b[i]
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(', '$', '=', '!', '*', '>', '~', '%', '|':
	default:
		return 0, fmt.Errorf("%w: type %q", errMalformed, kind)
	}
	if eol < 0 {
		return 0, nil
	}
	eol += i
	if b[eol-1] != '\r' {
		return 0, errMalformed
	}
	next := eol + 1
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return next, nil
	}
	size, err := length(b[i+1 : eol-1])
	if err != nil || size < 0 { // null
		return next, err
	}
	switch kind {
	case '$', '=', '!':
		end := next + size
		if end+2 > len(b) {
			return 0, nil
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, errMalformed
		}
		return end + 2, nil
	case '%':
		size *= 2
	case '|': // attributes stand before the value that they describe
		size = size*2 + 1
	}
	for range size {
		if next, err = skip(b, next, depth+1); next == 0 {
			return 0, err
		}
	}
	return next, nil
}

// length reads the length of a reply or of one of its parts, -1 for null.
func length(digits []byte) (int, error) {
	if string(digits) == "-1" {
		return -1, nil
	}
	if len(digits) == 0 || len(digits) > 9 {
		return 0, errMalformed
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, errMalformed
		}
		n = n*10 + int(c-'0')
	}
	if n > maxReply {
		return 0, fmt.Errorf("%w: a reply of more than %d bytes", errTooLarge, maxReply)
	}
	return n, nil
}

// reply is what is no message, as far as a subscriber cares.
type reply struct {
	kind byte   // '-' error, 'a' ack of a (un)subscription, 'p' pong, 'x' a push of a kind that was not asked for
	verb []byte // of an ack: subscribe, unsubscribe, psubscribe, punsubscribe, ssubscribe, sunsubscribe
	name []byte // of an ack
	text []byte // of an error
}

// readReply reads a whole frame that parse has measured.
func readReply(b []byte) (reply, error) {
	switch {
	case b[0] == '-':
		return reply{kind: '-', text: b[1 : len(b)-2]}, nil
	case string(b) == "+PONG\r\n":
		return reply{kind: 'p'}, nil
	case b[0] != '*' && b[0] != '>':
		return reply{}, fmt.Errorf("%w: unexpected reply %.32q", errMalformed, b)
	}
	verb, i, err := bulk(b, bytes.IndexByte(b, '\n')+1)
	if err != nil || i == 0 {
		return reply{}, errMalformed
	}
	switch string(verb) {
	case "pong":
		return reply{kind: 'p'}, nil
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		name, end, err := bulk(b, i)
		if err != nil || end == 0 {
			return reply{}, errMalformed
		}
		return reply{kind: 'a', verb: verb, name: name}, nil
	case "message", "pmessage", "smessage": // in a spelling that no Redis uses
		return reply{}, errMalformed
	}
	if b[0] == '>' {
		return reply{kind: 'x'}, nil
	}
	return reply{}, fmt.Errorf("%w: unexpected reply %.32q", errMalformed, b)
}

// verbs are the commands for targets of a kind, and by their lower case the first words of their acks.
var verbs = map[tenants.Kind][2]string{
	tenants.Exact:   {"UNSUBSCRIBE", "SUBSCRIBE"},
	tenants.Pattern: {"PUNSUBSCRIBE", "PSUBSCRIBE"},
	tenants.Sharded: {"SUNSUBSCRIBE", "SSUBSCRIBE"},
}

const ping = "*1\r\n$4\r\nPING\r\n"

// appendCommand writes the header of a command with its first word; count arguments follow by appendBulk.
func appendCommand(b []byte, verb string, count int) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(count+1), 10)
	b = append(b, '\r', '\n')
	return appendBulk(b, verb)
}

func appendBulk(b []byte, s string) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, '\r', '\n')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// frameReader parses frames in place from one buffer. Only one goroutine uses it.
//
//	buf: [ ....consumed.... r ...unread... w ......free...... ]
type frameReader struct {
	standing []byte // the buffer that it has for good
	buf      []byte // standing, or a larger one as long as one frame needs it
	limit    int    // bytes that buf may grow to
	r, w     int
}

func newFrameReader(size, limit int) *frameReader {
	b := make([]byte, size)
	return &frameReader{standing: b, buf: b, limit: limit}
}

// next parses the next whole frame into f and returns all its bytes, nil when a fill is needed first. Both are valid until then.
func (r *frameReader) next(f *frame) (raw []byte, err error) {
	if r.r == r.w {
		return nil, nil
	}
	n, err := parse(r.buf[r.r:r.w], f)
	if err != nil || n == 0 {
		return nil, err
	}
	raw = r.buf[r.r : r.r+n : r.r+n]
	r.r += n
	return raw, nil
}

// fill makes room and reads once. The slices of earlier frames die here.
func (r *frameReader) fill(src io.Reader) (int, error) {
	if err := r.room(); err != nil {
		return 0, err
	}
	n, err := src.Read(r.buf[r.w:])
	r.w += n
	return n, err
}

// room moves the cut-off tail to the front. The buffer grows for a frame that is larger than itself alone, and the standing one takes its
// place again as soon as the tail fits into half of it.
func (r *frameReader) room() error {
	tail := r.buf[r.r:r.w]
	switch {
	case r.r == 0 && r.w < len(r.buf):
		return nil
	case len(tail) == len(r.buf):
		if len(r.buf) >= r.limit {
			return fmt.Errorf("%w: a message of more than %d bytes", errTooLarge, r.limit)
		}
		r.buf = make([]byte, min(2*len(r.buf), r.limit))
	case len(r.buf) > len(r.standing) && len(tail) <= len(r.standing)/2:
		r.buf = r.standing
	}
	r.w = copy(r.buf, tail)
	r.r = 0
	return nil
}
