//go:build !wasip1

package abi

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

func (s *server) get(key string) ([]byte, bool) {
	if s.sets[key] != nil {
		return nil, false // WRONGTYPE
	}
	return slices.Clone(s.strings[key]), true
}

func (s *server) set(key string, value []byte) {
	delete(s.sets, key)
	s.strings[key] = slices.Clone(value)
}

func (s *server) incrBy(key string, by int64) (int64, bool) {
	old, ok := s.get(key)
	if !ok {
		return 0, false
	}
	n := int64(0)
	if old != nil {
		var err error
		if n, err = strconv.ParseInt(string(old), 10, 64); err != nil {
			return 0, false
		}
	}
	n += by
	s.strings[key] = strconv.AppendInt(nil, n, 10)
	return n, true
}

func (s *server) del(keys []string) (n int64) {
	for _, key := range keys {
		if s.exists(key) {
			n++
		}
		delete(s.strings, key)
		delete(s.sets, key)
	}
	return n
}

func (s *server) exists(key string) bool {
	_, ok := s.strings[key]
	return ok || s.sets[key] != nil
}

func (s *server) sadd(key string, members []string) (n int64, ok bool) {
	if _, ok := s.strings[key]; ok {
		return 0, false // WRONGTYPE
	}
	set := s.sets[key]
	if set == nil {
		set = map[string]bool{}
		s.sets[key] = set
	}
	for _, member := range members {
		if !set[member] {
			set[member] = true
			n++
		}
	}
	return n, true
}

func (s *server) srem(key string, members []string) (n int64, ok bool) {
	if _, ok := s.strings[key]; ok {
		return 0, false // WRONGTYPE
	}
	for _, member := range members {
		if s.sets[key][member] {
			delete(s.sets[key], member)
			n++
		}
	}
	if len(s.sets[key]) == 0 {
		delete(s.sets, key)
	}
	return n, true
}

func (s *server) smembers(key string) ([]string, bool) {
	if _, ok := s.strings[key]; ok {
		return nil, false // WRONGTYPE
	}
	return slices.Sorted(maps.Keys(s.sets[key])), true
}

// command runs the commands that need no more than strings and sets. known is false for all others.
func (s *server) command(name string, args []string) (out []Value, ok, known bool) {
	arity := map[string]int{"PING": 0, "GET": 1, "SET": 2, "APPEND": 2, "INCR": 1, "INCRBY": 2, "SMEMBERS": 1,
		"DEL": -1, "EXISTS": -1, "SADD": -2, "SREM": -2} // a negative number is a minimum
	name = strings.ToUpper(name)
	n, known := arity[name]
	if !known {
		return nil, false, false
	}
	if n >= 0 && len(args) != n || len(args) < -n {
		return nil, false, true
	}
	switch name {
	case "PING":
		return []Value{{Tag: Status, Bytes: []byte("PONG")}}, true, true
	case "GET":
		v, ok := s.get(args[0])
		if v == nil {
			return []Value{{Tag: Nil}}, ok, true
		}
		return []Value{{Tag: Binary, Bytes: v}}, ok, true
	case "SET":
		s.set(args[0], []byte(args[1]))
		return []Value{{Tag: Status, Bytes: []byte("OK")}}, true, true
	case "SMEMBERS":
		members, ok := s.smembers(args[0])
		for _, member := range members {
			out = append(out, Value{Tag: Binary, Bytes: []byte(member)})
		}
		return out, ok, true
	}
	i, ok := s.count(name, args)
	return []Value{{Tag: Int64, Int: i}}, ok, true
}

// count runs the commands that answer a number.
func (s *server) count(name string, args []string) (n int64, ok bool) {
	switch name {
	case "APPEND":
		v, ok := s.get(args[0])
		if !ok {
			return 0, false
		}
		s.set(args[0], append(v, args[1]...))
		return int64(len(v) + len(args[1])), true
	case "INCR":
		return s.incrBy(args[0], 1)
	case "INCRBY":
		by, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return 0, false
		}
		return s.incrBy(args[0], by)
	case "DEL":
		return s.del(args), true
	case "EXISTS":
		for _, key := range args {
			if s.exists(key) {
				n++
			}
		}
		return n, true
	case "SADD":
		return s.sadd(args[0], args[1:])
	}
	return s.srem(args[0], args[1:])
}

// executeCommand serves execute: PUBLISH and what command knows, then the test's own function.
func (m *Memory) executeCommand(address, command string, args []Param) (out []Value, ok bool) {
	flat := make([]string, len(args))
	for i, a := range args {
		if flat[i] = a.Bytes; !a.Binary {
			flat[i] = strconv.FormatInt(a.Int, 10)
		}
	}
	if strings.EqualFold(command, "PUBLISH") && len(flat) == 2 {
		return []Value{{Tag: Int64}}, m.publish(address, flat[0], []byte(flat[1]))
	}
	known := false
	reached := m.redis(address, func(s *server) bool {
		out, ok, known = s.command(command, flat)
		return true
	})
	if !reached || known {
		return out, reached && ok
	}
	m.mu.Lock()
	f := m.execute
	m.mu.Unlock()
	if f == nil {
		return nil, false
	}
	return f(address, command, args)
}
