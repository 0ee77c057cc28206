//go:build !wasip1

package abi

import (
	"maps"
	"slices"
)

// The same functions as in the files for wasip1, which document them.

func RedisPublish(address, channel string, payload []byte) bool {
	return Host.publish(address, channel, payload)
}

func RedisGet(address, key string) (value []byte, ok bool) {
	ok = Host.redis(address, func(s *server) (ok bool) {
		if value, ok = s.get(key); len(value) == 0 {
			value = nil // as in the ABI, which cannot tell a missing key from an empty value
		}
		return ok
	})
	return value, ok
}

func RedisSet(address, key string, value []byte) bool {
	return Host.redis(address, func(s *server) bool {
		s.set(key, append([]byte{}, value...))
		return true
	})
}

func RedisIncr(address, key string) (n int64, ok bool) {
	ok = Host.redis(address, func(s *server) (ok bool) {
		n, ok = s.incrBy(key, 1)
		return ok
	})
	return n, ok
}

func RedisDel(address string, keys []string) (n int64, ok bool) {
	ok = Host.redis(address, func(s *server) bool {
		n = s.del(keys)
		return len(keys) > 0
	})
	return n, ok
}

func RedisSAdd(address, key string, members []string) (n int64, ok bool) {
	ok = Host.redis(address, func(s *server) (ok bool) {
		n, ok = s.sadd(key, members)
		return ok && len(members) > 0
	})
	return n, ok
}

func RedisSRem(address, key string, members []string) (n int64, ok bool) {
	ok = Host.redis(address, func(s *server) (ok bool) {
		n, ok = s.srem(key, members)
		return ok && len(members) > 0
	})
	return n, ok
}

func RedisSMembers(address, key string) (members []string, ok bool) {
	ok = Host.redis(address, func(s *server) (ok bool) {
		members, ok = s.smembers(key)
		return ok
	})
	return members, ok
}

func RedisExecute(address, command string, args []Param) ([]Value, bool) {
	return Host.executeCommand(address, command, args)
}

func Config(name string) (string, *Failure) { return Host.config(name) }

func KVOpen(label string) (uint32, *Failure) { return Host.openStore(label) }

func KVGet(store uint32, key string) (value []byte, f *Failure) {
	f = Host.store(store, func(s map[string][]byte) *Failure {
		v, ok := s[key]
		if !ok {
			return &Failure{Tag: KVNoSuchKey}
		}
		value = slices.Clone(v)
		return nil
	})
	return value, f
}

func KVSet(store uint32, key string, value []byte) *Failure {
	return Host.store(store, func(s map[string][]byte) *Failure {
		s[key] = append([]byte{}, value...)
		return nil
	})
}

func KVDelete(store uint32, key string) *Failure {
	return Host.store(store, func(s map[string][]byte) *Failure {
		delete(s, key)
		return nil
	})
}

func KVExists(store uint32, key string) (exists bool, f *Failure) {
	f = Host.store(store, func(s map[string][]byte) *Failure {
		_, exists = s[key]
		return nil
	})
	return exists, f
}

func KVKeys(store uint32) (keys []string, f *Failure) {
	f = Host.store(store, func(s map[string][]byte) *Failure {
		keys = slices.Sorted(maps.Keys(s))
		return nil
	})
	return keys, f
}

func KVClose(store uint32) { Host.closeStore(store) }

func HTTP(r Request) (Response, uint8) {
	Host.mu.Lock()
	f := Host.http
	Host.mu.Unlock()
	if f == nil {
		return Response{}, HTTPDestinationNotAllowed
	}
	return f(r)
}
