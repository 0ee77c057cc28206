package spin

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// maxStoreReply bounds one reply from a RedisStore, in bytes; beyond, the operation fails and the connection is given up.
const maxStoreReply = 128 << 20

// redisStore keeps a store as one hash. How much the hash may hold is the Redis server's business (maxmemory).
type redisStore struct {
	client redis.UniversalClient
	key    string
}

// NewRedisStore returns a Store kept in the hash at key: one field for each of the store's keys. It has the methods of Atomic too. The
// client stays the caller's. One reply is bounded at 128 MiB.
func NewRedisStore(c redis.UniversalClient, key string) Store { return &redisStore{c, key} }

func (s *redisStore) run(ctx context.Context, args ...any) (item, items, error) {
	raw, err := roundTrip(ctx, s.client, nil, maxStoreReply, args)
	if errors.Is(err, errReplyTooBig) {
		err = errors.New(tooBig(maxStoreReply))
	}
	if err != nil {
		return item{}, items{}, err
	}
	return first(raw)
}

func (s *redisStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	it, _, err := s.run(ctx, "HGET", s.key, key)
	return it.text, err == nil && it.kind == bulkItem, err
}

func (s *redisStore) Set(ctx context.Context, key string, value []byte) error {
	_, _, err := s.run(ctx, "HSET", s.key, key, value)
	return err
}

func (s *redisStore) Delete(ctx context.Context, key string) error {
	_, _, err := s.run(ctx, "HDEL", s.key, key)
	return err
}

func (s *redisStore) Exists(ctx context.Context, key string) (bool, error) {
	it, _, err := s.run(ctx, "HEXISTS", s.key, key)
	return it.n == 1, err
}

// Keys are in the hash's order.
func (s *redisStore) Keys(ctx context.Context) ([]string, error) {
	it, rest, err := s.run(ctx, "HKEYS", s.key)
	if err != nil {
		return nil, err
	}
	var keys []string
	for range it.n {
		k, err := rest.next()
		if err != nil {
			return nil, err
		}
		keys = append(keys, string(k.text))
	}
	return keys, nil
}

// Increment implements Atomic.
func (s *redisStore) Increment(ctx context.Context, key string, delta int64) (int64, error) {
	it, _, err := s.run(ctx, "HINCRBY", s.key, key, delta)
	return it.n, err
}

// swapScript sets one field of a hash where it still holds what was read.
// KEYS: the hash. ARGV: field, "1" where it held a value and "0" where it was missing, that value, the new value. Result: 1 set, 0 not.
const swapScript = `local now = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '1' and now ~= ARGV[3] or ARGV[2] == '0' and now then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 1`

// Swap implements Atomic.
func (s *redisStore) Swap(ctx context.Context, key string, old *[]byte, value []byte) (bool, error) {
	held, before := "0", []byte{}
	if old != nil {
		held, before = "1", *old
	}
	it, _, err := s.run(ctx, "EVAL", swapScript, 1, s.key, key, held, before, value)
	if err != nil {
		return false, fmt.Errorf("swap: %w", err)
	}
	return it.n == 1, nil
}
