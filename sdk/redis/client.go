package redis

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/tenloom/tenloom/sdk/internal/abi"
)

// ErrFailed is what every failed command wraps. The ABI carries no reason; the host writes it to the component's log:
// an address that allowed_outbound_hosts does not list, a server that does not answer, a key of another type.
var ErrFailed = errors.New("refused by the host or failed on the server; the component's log has the reason")

// Client runs commands on one Redis server. The host keeps the connections and shares them, so a Client costs nothing,
// is never closed and may be made anew for each message.
type Client struct{ address string }

// Dial gives a Client for an address, such as "redis://cache.example.com:6379/2" or "rediss://user:password@host:6380".
// Nothing is connected, and the address is not looked at, before the first command.
func Dial(address string) *Client { return &Client{address: address} }

// Publish sends a message to a channel.
func (c *Client) Publish(ctx context.Context, channel string, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return check(abi.RedisPublish(c.address, channel, payload), "publish", channel)
}

// Get reads a key. The ABI cannot tell a missing key from an empty value: both are no bytes and no error. Where the
// difference matters, Execute(ctx, "GET", key) answers a Result of Kind Nil for a missing key.
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, ok := abi.RedisGet(c.address, key)
	return value, check(ok, "get", key)
}

// Set writes a key, without expiry.
func (c *Client) Set(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return check(abi.RedisSet(c.address, key, value), "set", key)
}

// Incr adds 1 to a key and gives the sum. A missing key counts as 0.
func (c *Client) Incr(ctx context.Context, key string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, ok := abi.RedisIncr(c.address, key)
	return n, check(ok, "incr", key)
}

// Del deletes keys and tells how many of them existed.
func (c *Client) Del(ctx context.Context, keys ...string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, ok := abi.RedisDel(c.address, keys)
	return n, check(ok, "del", first(keys))
}

// SAdd adds members to a set and tells how many were new.
func (c *Client) SAdd(ctx context.Context, key string, members ...string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, ok := abi.RedisSAdd(c.address, key, members)
	return n, check(ok, "sadd", key)
}

// SRem removes members from a set and tells how many were in it.
func (c *Client) SRem(ctx context.Context, key string, members ...string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, ok := abi.RedisSRem(c.address, key, members)
	return n, check(ok, "srem", key)
}

// SMembers lists a set, in no particular order. The ABI carries members as text: one that is not UTF-8 is an error.
func (c *Client) SMembers(ctx context.Context, key string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	members, ok := abi.RedisSMembers(c.address, key)
	return members, check(ok, "smembers", key)
}

// Execute runs any command. Arguments are strings, byte slices and integers; another type, or an unsigned integer above
// the largest int64, is an error before anything is sent. An answer that is an array comes flattened, one Result for each element.
func (c *Client) Execute(ctx context.Context, command string, args ...any) ([]Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	params := make([]abi.Param, len(args))
	for i, arg := range args {
		p, ok := param(arg)
		if !ok {
			return nil, errors.New("redis: " + command + ": argument " + strconv.Itoa(i+1) + " must be a string, a byte slice or an integer that fits int64")
		}
		params[i] = p
	}
	values, ok := abi.RedisExecute(c.address, command, params)
	if err := check(ok, command, ""); err != nil {
		return nil, err
	}
	results := make([]Result, len(values))
	for i, v := range values {
		results[i] = Result{Kind: Kind(v.Tag), Int: v.Int, Bytes: v.Bytes}
	}
	return results, nil
}

func param(arg any) (abi.Param, bool) {
	switch v := arg.(type) {
	case string:
		return abi.Param{Binary: true, Bytes: v}, true
	case []byte:
		return abi.Param{Binary: true, Bytes: string(v)}, true
	case int:
		return abi.Param{Int: int64(v)}, true
	case int8:
		return abi.Param{Int: int64(v)}, true
	case int16:
		return abi.Param{Int: int64(v)}, true
	case int32:
		return abi.Param{Int: int64(v)}, true
	case int64:
		return abi.Param{Int: v}, true
	case uint8:
		return abi.Param{Int: int64(v)}, true
	case uint16:
		return abi.Param{Int: int64(v)}, true
	case uint32:
		return abi.Param{Int: int64(v)}, true
	case uint:
		return abi.Param{Int: int64(v)}, uint64(v) <= math.MaxInt64
	case uint64:
		return abi.Param{Int: int64(v)}, v <= math.MaxInt64
	}
	return abi.Param{}, false
}

// Kind tells what a Result holds.
type Kind uint8

// The kinds of a Result, numbered as the ABI numbers them.
const (
	Nil    Kind = iota // nothing: a missing key
	Status             // Bytes, a simple string such as OK
	Int64              // Int
	Binary             // Bytes
)

// Result is one element of what a command answered.
type Result struct {
	Kind  Kind
	Int   int64
	Bytes []byte
}

// String is the text that redis-cli would show, without quotes: "(nil)", the number in decimal, or the bytes.
func (r Result) String() string {
	switch r.Kind {
	case Nil:
		return "(nil)"
	case Int64:
		return strconv.FormatInt(r.Int, 10)
	}
	return string(r.Bytes)
}

// failure says which command failed. The address is left out, since it may hold a password.
type failure struct{ command, key string }

func (f *failure) Error() string {
	what := "redis: " + f.command
	if f.key != "" {
		what += " " + strconv.Quote(f.key)
	}
	return what + ": " + ErrFailed.Error()
}

func (f *failure) Unwrap() error { return ErrFailed }

func check(ok bool, command, key string) error {
	if ok {
		return nil
	}
	return &failure{command, key}
}

func first(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}
