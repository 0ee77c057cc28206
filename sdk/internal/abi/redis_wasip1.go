package abi

import (
	"encoding/binary"
	"runtime"
)

//go:wasmimport outbound-redis publish
func redisPublish(address, channel, payload string, ret *area)

//go:wasmimport outbound-redis get
func redisGet(address, key string, ret *area)

//go:wasmimport outbound-redis set
func redisSet(address, key, value string, ret *area)

//go:wasmimport outbound-redis incr
func redisIncr(address, key string, ret *area)

//go:wasmimport outbound-redis del
func redisDel(address string, keys *view, n uint32, ret *area)

//go:wasmimport outbound-redis sadd
func redisSAdd(address, key string, members *view, n uint32, ret *area)

//go:wasmimport outbound-redis srem
func redisSRem(address, key string, members *view, n uint32, ret *area)

//go:wasmimport outbound-redis smembers
func redisSMembers(address, key string, ret *area)

//go:wasmimport outbound-redis execute
func redisExecute(address, command string, args *param, n uint32, ret *area)

// Each call below keeps its arguments alive until the import has returned: the host's realloc may start a collection while
// it still reads them, and the last mention of an argument is the call itself.

// param is redis-parameter: the tag in the low byte of the first word, then an s64 or a pointer and a length.
type param [2]uint64

// RedisPublish, like all calls here, answers false when the host reported an error: shape A gives no reason.
func RedisPublish(address, channel string, payload []byte) bool {
	ret := new(area)
	redisPublish(address, channel, text(payload), ret)
	runtime.KeepAlive(address)
	runtime.KeepAlive(channel)
	runtime.KeepAlive(payload)
	return !ret.failed()
}

// RedisGet answers no bytes for a missing key: shape A cannot tell it from an empty one.
func RedisGet(address, key string) ([]byte, bool) {
	ret := new(area)
	redisGet(address, key, ret)
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	if ret.failed() {
		return nil, false
	}
	return ret.bytes(4), true
}

// RedisSet sets a key.
func RedisSet(address, key string, value []byte) bool {
	ret := new(area)
	redisSet(address, key, text(value), ret)
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return !ret.failed()
}

// RedisIncr adds 1.
func RedisIncr(address, key string) (int64, bool) {
	ret := new(area)
	redisIncr(address, key, ret)
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	return ret.number()
}

// RedisDel deletes keys and answers how many existed.
func RedisDel(address string, keys []string) (int64, bool) {
	ret := new(area)
	redisDel(address, lend(keys), uint32(len(keys)), ret)
	unlend()
	runtime.KeepAlive(address)
	return ret.number()
}

// RedisSAdd adds members to a set and answers how many were new.
func RedisSAdd(address, key string, members []string) (int64, bool) {
	ret := new(area)
	redisSAdd(address, key, lend(members), uint32(len(members)), ret)
	unlend()
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	return ret.number()
}

// RedisSRem removes members from a set and answers how many were in it.
func RedisSRem(address, key string, members []string) (int64, bool) {
	ret := new(area)
	redisSRem(address, key, lend(members), uint32(len(members)), ret)
	unlend()
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	return ret.number()
}

// RedisSMembers lists a set, in no particular order.
func RedisSMembers(address, key string) ([]string, bool) {
	ret := new(area)
	redisSMembers(address, key, ret)
	runtime.KeepAlive(address)
	runtime.KeepAlive(key)
	if ret.failed() {
		return nil, false
	}
	return ret.strings(4), true
}

// RedisExecute runs any command.
func RedisExecute(address, command string, args []Param) ([]Value, bool) {
	bytes := make([]string, len(args))
	params := make([]param, len(args)+1)
	for i, a := range args {
		params[i] = param{0, uint64(a.Int)}
		if a.Binary {
			bytes[i] = a.Bytes
			v := viewOf(a.Bytes)
			params[i] = param{1, uint64(v.n)<<32 | uint64(v.ptr)}
		}
	}
	lent = bytes
	ret := new(area)
	redisExecute(address, command, &params[0], uint32(len(args)), ret)
	unlend()
	runtime.KeepAlive(address)
	runtime.KeepAlive(command)
	if ret.failed() {
		return nil, false
	}
	return ret.values(4), true
}

// number reads an s64 result.
func (a *area) number() (int64, bool) {
	if a.failed() {
		return 0, false
	}
	return a.i64(8), true
}

// values takes the list<redis-result> whose pointer stands at the offset.
func (a *area) values(at int) []Value {
	n := a.u32(at + 4)
	raw := take(a.u32(at), 16*n)
	out := make([]Value, 0, n)
	for ; len(raw) > 0; raw = raw[16:] {
		v := Value{Tag: raw[0]}
		switch v.Tag {
		case Int64:
			v.Int = int64(binary.LittleEndian.Uint64(raw[8:]))
		case Status, Binary:
			v.Bytes = takeAt(raw[8:])
		}
		out = append(out, v)
	}
	return out
}
