package spin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Commands read their replies as raw RESP, because guests are told simple strings ("status") from bulk strings ("binary") and
// go-redis' own readers give one Go string for both. RawWriteToCmd is go-redis' public door to the bytes; it also bounds a reply while it
// arrives instead of after, and is never retried, so that no INCR happens twice.

var (
	errReplyTooBig  = errors.New("reply is bigger than the limit")
	errReplyTooDeep = fmt.Errorf("reply nests deeper than %d levels", maxDepth)
	errReplyBroken  = errors.New("reply is not valid RESP")
)

// maxDepth bounds how deep arrays may nest in a reply: go-redis reads them by recursion, and the server may be anybody's.
const maxDepth = 128

// keepReply is the largest buffer that a Call keeps from one command to the next, in bytes.
const keepReply = 64 << 10

// roundTrip sends one command and returns its raw reply, which is in buf where it fits; a server error is a reply. It returns when ctx
// ends, with its cause; the command then goes on by itself until the client's own time-outs end it, so args and buf must not be
// used again.
func roundTrip(ctx context.Context, client redis.UniversalClient, buf []byte, limit int64, args []any) ([]byte, error) {
	reply := &replyBuffer{data: buf[:0], limit: limit}
	cmd := redis.NewRawWriteToCmd(ctx, reply, args...)
	if ctx.Done() == nil {
		err := client.Process(ctx, cmd)
		return reply.data, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- client.Process(ctx, cmd) }() // go-redis does not wake a read for a cancelled ctx; its read time-out ends this
	select {
	case err := <-done:
		return reply.data, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// replyBuffer takes what RawWriteToCmd reads: a Write for each header line, one for its line end, ReadFrom for the bytes of bulk strings.
// An error from it makes go-redis close the connection.
type replyBuffer struct {
	data  []byte
	limit int64
	open  []int64 // elements still to come, of each aggregate that is open
}

func (r *replyBuffer) Write(p []byte) (int, error) {
	if int64(len(r.data)+len(p)) > r.limit {
		return 0, errReplyTooBig
	}
	if len(p) > 0 && string(p) != "\r\n" {
		if err := r.header(p); err != nil {
			return 0, err
		}
	}
	r.data = append(r.data, p...)
	return len(p), nil
}

// header follows the nesting.
func (r *replyBuffer) header(line []byte) error {
	var n int64
	switch line[0] {
	case '*', '~', '>':
		n, _ = strconv.ParseInt(string(line[1:]), 10, 64)
	case '%':
		n, _ = strconv.ParseInt(string(line[1:]), 10, 32)
		n *= 2
	case '|': // attributes, then the reply that they belong to
		n, _ = strconv.ParseInt(string(line[1:]), 10, 32)
		n = 2*n + 1
	}
	if n > 0 {
		if len(r.open) == maxDepth {
			return errReplyTooDeep
		}
		r.open = append(r.open, n)
		return nil
	}
	for last := len(r.open) - 1; last >= 0; last-- {
		if r.open[last]--; r.open[last] > 0 {
			break
		}
		r.open = r.open[:last]
	}
	return nil
}

// ReadFrom implements io.ReaderFrom, so that io.CopyN copies once.
func (r *replyBuffer) ReadFrom(from io.Reader) (int64, error) {
	chunk := int64(4 << 10)
	if l, ok := from.(*io.LimitedReader); ok {
		if int64(len(r.data))+l.N > r.limit {
			return 0, errReplyTooBig
		}
		chunk = min(l.N, 1<<20)
	}
	var total int64
	for {
		r.data = slices.Grow(r.data, int(max(chunk, 1)))
		n, err := from.Read(r.data[len(r.data):cap(r.data)])
		r.data = r.data[:len(r.data)+n]
		total += int64(n)
		switch {
		case int64(len(r.data)) > r.limit:
			return total, errReplyTooBig
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
		chunk = 1
	}
}

// itemKind says what one RESP item is, the same for both protocol versions.
type itemKind uint8

const (
	nilItem itemKind = iota
	statusItem
	bulkItem
	integerItem // and booleans
	doubleItem
	bigItem
	errorItem
	arrayItem // and sets
	mapItem
	attributeItem
	verbatimItem
	pushItem
)

// item is one RESP item: text, or n, which is the number of elements of an aggregate.
type item struct {
	kind itemKind
	text []byte
	n    int64
}

var itemKinds = map[byte]itemKind{
	'_': nilItem, '+': statusItem, '$': bulkItem, ':': integerItem, '#': integerItem, ',': doubleItem, '(': bigItem, '-': errorItem,
	'!': errorItem, '*': arrayItem, '~': arrayItem, '%': mapItem, '|': attributeItem, '=': verbatimItem, '>': pushItem,
}

// items reads a raw reply item by item; the elements of an aggregate follow it.
type items struct{ rest []byte }

func (r *items) next() (item, error) {
	line, rest, found := bytes.Cut(r.rest, []byte("\r\n"))
	if !found || len(line) == 0 {
		return item{}, errReplyBroken
	}
	r.rest = rest
	kind, known := itemKinds[line[0]]
	if !known {
		return item{}, errReplyBroken
	}
	it := item{kind: kind, text: line[1:]}
	switch line[0] {
	case '#':
		if string(it.text) == "t" {
			it.n = 1
		}
		return it, nil
	case ':', '*', '~', '%', '|', '>', '$', '!', '=':
		n, err := strconv.ParseInt(string(it.text), 10, 64)
		if err != nil {
			return item{}, errReplyBroken
		}
		it.n = n
	default:
		return it, nil
	}
	if line[0] == ':' {
		return it, nil
	}
	if it.n < 0 {
		return item{kind: nilItem}, nil
	}
	if line[0] == '$' || line[0] == '!' || line[0] == '=' {
		return r.bulk(it)
	}
	return it, nil
}

// bulk takes the bytes that a header announced.
func (r *items) bulk(it item) (item, error) {
	if it.n > int64(len(r.rest))-2 {
		return item{}, errReplyBroken
	}
	it.text, r.rest = r.rest[:it.n], r.rest[it.n+2:]
	return it, nil
}

// first reads a reply that is one item, or whose elements follow in rest. A server error is returned as *serverError.
func first(raw []byte) (it item, rest items, err error) {
	rest = items{raw}
	if it, err = rest.next(); err != nil {
		return it, rest, err
	}
	if it.kind == errorItem {
		return it, rest, &serverError{string(it.text)}
	}
	return it, rest, nil
}

// serverError is what Redis answered.
type serverError struct{ text string }

func (e *serverError) Error() string { return e.text }
