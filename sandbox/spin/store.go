package spin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// Store is one key-value store. Its methods may be called by many invocations at once.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error) // the value is not written to by anybody
	Set(ctx context.Context, key string, value []byte) error                   // takes the value over
	Delete(ctx context.Context, key string) error                              // of a missing key is no error
	Exists(ctx context.Context, key string) (bool, error)
	Keys(ctx context.Context) ([]string, error)
}

// Atomic is a Store that wasi:keyvalue/atomics works on. Where a Store has no such methods, these imports answer "other".
type Atomic interface {
	// Increment adds delta to the decimal number at key, 0 where there is none, and returns the sum.
	Increment(ctx context.Context, key string, delta int64) (int64, error)
	// Swap sets key to value where it still holds old, or is still missing where old is nil, and says whether it did.
	Swap(ctx context.Context, key string, old *[]byte, value []byte) (bool, error)
}

// entryCost is what one entry of a MemoryStore is charged beyond its key and value, in bytes.
const entryCost = 64

// memoryStore keeps a store in memory. It holds at most max bytes; what would go beyond is refused and changes nothing.
type memoryStore struct {
	max int64

	mu      sync.Mutex
	entries map[string][]byte
	bytes   int64
}

// NewMemoryStore returns a Store in memory that holds at most maxBytes, where each entry counts 64 bytes more than its key and value.
// It has the methods of Atomic too. Set fails where it would not fit, naming both numbers.
func NewMemoryStore(maxBytes int64) Store {
	return &memoryStore{max: maxBytes, entries: make(map[string][]byte)}
}

func (s *memoryStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, found := s.entries[key]
	return value, found, nil
}

func (s *memoryStore) Set(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(key, value)
}

// set is Set under mu.
func (s *memoryStore) set(key string, value []byte) error {
	grows := int64(len(value))
	if old, found := s.entries[key]; found {
		grows -= int64(len(old))
	} else {
		grows += int64(len(key)) + entryCost
	}
	if grows > 0 && s.bytes+grows > s.max {
		return fmt.Errorf("store is full: %d of %d bytes are used and this entry needs %d more; delete keys first", s.bytes, s.max, grows)
	}
	s.bytes += grows
	s.entries[key] = value
	return nil
}

func (s *memoryStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, found := s.entries[key]; found {
		s.bytes -= int64(len(key)+len(old)) + entryCost
		delete(s.entries, key)
	}
	return nil
}

func (s *memoryStore) Exists(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.entries[key]
	return found, nil
}

// Keys are sorted.
func (s *memoryStore) Keys(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.entries)), nil
}

var errNotInteger = errors.New("the value is not a 64-bit integer in decimal")

// Increment implements Atomic.
func (s *memoryStore) Increment(_ context.Context, key string, delta int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int64
	if old, found := s.entries[key]; found {
		var err error
		if n, err = strconv.ParseInt(string(old), 10, 64); err != nil {
			return 0, errNotInteger
		}
	}
	sum := n + delta
	if (sum > n) != (delta > 0) && delta != 0 {
		return 0, errors.New("increment would overflow")
	}
	return sum, s.set(key, strconv.AppendInt(nil, sum, 10))
}

// Swap implements Atomic.
func (s *memoryStore) Swap(_ context.Context, key string, old *[]byte, value []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, found := s.entries[key]
	if found != (old != nil) || found && string(now) != string(*old) {
		return false, nil
	}
	err := s.set(key, value)
	return err == nil, err
}
