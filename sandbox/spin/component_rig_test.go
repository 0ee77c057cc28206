package spin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// form is a component that does as the test guests do and prints as they print, with the interfaces of one generation.
type form struct {
	name      string
	v2        bool
	redis     string
	variables string
}

var forms = []form{
	{"component unversioned", false, "fermyon:spin/redis", "fermyon:spin/config"},
	{"component 2.0.0", true, "fermyon:spin/redis@2.0.0", "fermyon:spin/variables@2.0.0"},
	{"component 3.0.0", true, "spin:redis/redis@3.0.0", "spin:variables/variables@3.0.0"},
}

// says runs one operation in a fresh instance.
func (f form) says(t *testing.T, h *spin.Host, a spin.Attributes, fields ...string) string {
	t.Helper()
	s := newSpeaker(t, h, a)
	op, args := fields[0], fields[1:]
	var result canon.Value
	switch {
	case strings.HasPrefix(op, "kv-"):
		result = s.keyValue(f.v2, strings.TrimPrefix(op, "kv-"), args)
	case op == "config" && f.v2:
		result = s.call(f.variables, "get", args[0])
	case op == "config":
		result = s.call(f.variables, "get-config", args[0])
	case op == "w-config":
		result = s.call("wasi:config/store@0.2.0-draft-2024-09-27", "get", args[0])
	case op == "w-config-all":
		result = s.call("wasi:config/store@0.2.0-draft-2024-09-27", "get-all")
	default:
		result = s.command(f, op, args)
	}
	return spoken(result)
}

// speaker is one instance.
type speaker struct {
	*hosttest.Guest
	t    *testing.T
	Call *spin.Call
}

func newSpeaker(t *testing.T, h *spin.Host, a spin.Attributes) *speaker {
	t.Helper()
	s := &speaker{Guest: hosttest.New(t, append(spin.Interfaces(), spin.Stubs()...)...), t: t, Call: spin.NewCall(h, a)}
	t.Cleanup(func() {
		s.Store.Reset()
		s.Call.Close()
	})
	return s
}

func (s *speaker) call(iface, name string, args ...canon.Value) canon.Value {
	s.t.Helper()
	v, err := s.Guest.Call(spin.With(s.t.Context(), s.Call), iface, name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", iface, name, err)
	}
	return v
}

func (s *speaker) command(f form, op string, args []string) canon.Value {
	s.t.Helper()
	prefix, address := "", canon.Value(args[0])
	if f.v2 {
		opened := s.call(f.redis, "[static]connection.open", address)
		payload, ok := hosttest.OK(opened)
		if !ok {
			return opened
		}
		prefix, address = "[method]connection.", payload
	}
	with := []canon.Value{address}
	args = args[1:]
	switch op {
	case "publish", "set":
		with = append(with, args[0], []byte(args[1]))
	case "get", "incr", "smembers":
		with = append(with, args[0])
	case "del":
		with = append(with, values(args))
	case "sadd", "srem":
		with = append(with, args[0], values(args[1:]))
	case "execute":
		var parameters []canon.Value
		for _, a := range args[1:] {
			p := canon.Variant{Case: 1, Payload: []byte(a[1:])}
			if a[0] == 'i' {
				p = canon.Variant{Case: 0, Payload: int64(number(a[1:]))}
			}
			parameters = append(parameters, p)
		}
		with = append(with, args[0], parameters)
	}
	return s.call(f.redis, prefix+op, with...)
}

func number(le string) (n uint64) {
	for i := range 8 {
		n |= uint64(le[i]) << (8 * i)
	}
	return n
}

func (s *speaker) keyValue(v2 bool, op string, args []string) canon.Value {
	s.t.Helper()
	iface, open, prefix := "fermyon:spin/key-value", "open", ""
	if v2 {
		iface, open, prefix = "fermyon:spin/key-value@2.0.0", "[static]store.open", "[method]store."
	}
	opened := s.call(iface, open, args[0])
	store, ok := hosttest.OK(opened)
	if !ok {
		return opened
	}
	if op == "keys" {
		op = "get-keys"
	}
	with := []canon.Value{store}
	for i, a := range args[1:] {
		if i == 1 {
			with = append(with, []byte(a))
			continue
		}
		with = append(with, a)
	}
	return s.call(iface, prefix+op, with...)
}

func values(all []string) []canon.Value {
	list := []canon.Value{}
	for _, a := range all {
		list = append(list, a)
	}
	return list
}

// spoken prints a result as the test guests do.
func spoken(v canon.Value) string {
	r := v.(canon.Variant)
	if r.Case == 1 {
		return failed(r.Payload)
	}
	if o, ok := r.Payload.(canon.Variant); ok {
		if o.Case == 0 {
			return "none"
		}
		r.Payload = o.Payload
	}
	if r.Payload == nil {
		return "ok"
	}
	return "ok " + printed(r.Payload)
}

func failed(v canon.Value) string {
	if e, ok := v.(canon.Enum); ok {
		return fmt.Sprintf("err %d", e)
	}
	e := v.(canon.Variant)
	if e.Payload == nil {
		return fmt.Sprintf("err %d", e.Case)
	}
	return fmt.Sprintf("err %d %s", e.Case, printed(e.Payload))
}

func printed(v canon.Value) string {
	switch v := v.(type) {
	case []byte:
		return printed(string(v))
	case string:
		var b strings.Builder
		for _, c := range []byte(v) {
			if c < ' ' || c > '~' {
				fmt.Fprintf(&b, `\x%02x`, c)
				continue
			}
			b.WriteByte(c)
		}
		return b.String()
	case bool:
		if v {
			return "1"
		}
		return "0"
	case []canon.Value:
		return printedList(v)
	case canon.Variant: // redis-result
		if v.Case == 0 {
			return "nil"
		}
		return [...]string{1: "status ", "int64 ", "binary "}[v.Case] + printed(v.Payload)
	}
	return fmt.Sprint(v)
}

func printedList(all []canon.Value) string {
	var texts []string
	separator := ","
	for _, v := range all {
		if _, ok := v.(canon.Variant); ok {
			separator = ", "
		}
		texts = append(texts, printed(v))
	}
	return strings.Join(texts, separator)
}
