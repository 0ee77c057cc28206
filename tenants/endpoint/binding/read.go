package binding

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var errTooLarge = fmt.Errorf("the value is larger than %d bytes", MaxValue)

// bounded takes a raw reply, up to a bound.
type bounded struct{ reply []byte }

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.reply)+len(p) > MaxValue+64 { // its length stands before it
		return 0, errTooLarge
	}
	b.reply = append(b.reply, p...)
	return len(p), nil
}

// replyError is an error that Redis answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError implements redis.Error.
func (e replyError) RedisError() {}

// read answers a value, or nothing where there is none. The reply is taken as it comes, so that a large one takes no memory; what a cluster sends
// elsewhere is asked for in the ordinary way, once its length is known.
func read(ctx context.Context, c redis.UniversalClient, command, length string, key string, more ...any) (Answer, error) {
	var reply bounded
	args := append([]any{command, key}, more...)
	if err := c.Process(ctx, redis.NewRawWriteToCmd(ctx, &reply, args...)); err != nil {
		if errors.Is(err, errTooLarge) {
			return Answer{}, errTooLarge
		}
		return Answer{}, err
	}
	value, err := bulk(reply.reply)
	if err != nil && elsewhere(err) {
		n, err := c.Do(ctx, append([]any{length, key}, more...)...).Int64()
		if err != nil {
			return Answer{}, err
		}
		if n > MaxValue {
			return Answer{}, errTooLarge
		}
		text, err := c.Do(ctx, append([]any{command, key}, more...)...).Text()
		if errors.Is(err, redis.Nil) {
			return Answer{Answers: true}, nil
		}
		return Answer{Data: []byte(text), Answers: true}, err
	}
	return Answer{Data: value, Answers: true}, err
}

// bulk reads a bulk string or nothing, of RESP 2 and 3.
func bulk(reply []byte) ([]byte, error) {
	line, rest, ok := bytes.Cut(reply, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, errors.New("the reply of Redis was cut")
	}
	switch line[0] {
	case '-':
		return nil, replyError(line[1:])
	case '_':
		return nil, nil
	case '$':
		n, err := strconv.Atoi(string(line[1:]))
		if err == nil && n < 0 {
			return nil, nil
		}
		if err != nil || len(rest) < n {
			return nil, errors.New("the reply of Redis was cut")
		}
		return rest[:n], nil
	}
	return nil, errors.New("the reply of Redis is no text")
}

func elsewhere(err error) bool {
	return strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK ")
}

// again tells whether an operation that failed may be tried again.
func again(ctx context.Context, err error, twice bool) bool {
	if ctx.Err() != nil || errors.Is(err, redis.Nil) || errors.Is(err, errTooLarge) || errors.Is(err, errTTL) {
		return false
	}
	var answered redis.Error
	if errors.As(err, &answered) { // refused, so not done
		for _, starting := range []string{"LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN"} {
			if redis.HasErrorPrefix(err, starting) || strings.HasPrefix(answered.Error(), starting) {
				return true
			}
		}
		return false
	}
	var dial *net.OpError
	if errors.As(err, &dial) {
		return twice || dial.Op == "dial"
	}
	return twice
}

// pause waits before the next try. false: there is no time for one.
func (r Retry) pause(ctx context.Context, n int) bool {
	d := max(r.Min, 0)
	for range n {
		if d *= 2; d >= max(r.Max, 0) {
			break
		}
	}
	d = min(d, max(r.Max, r.Min, 0))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
