package spin

import (
	"strconv"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// redisInterfaces are Redis in its three generations: operations that name their address each time, and a connection resource with functions that
// are synchronous or asynchronous.
func redisInterfaces() []host.Interface {
	return []host.Interface{redisV1Interface(), connectionInterface("fermyon:spin/redis@2.0.0", "", waiting), connectionInterface("spin:redis/redis@3.0.0", "async ", deferring)}
}

var redisTypes = map[string]string{
	"payload":         "list<u8>",
	"redis-parameter": "variant<int64(s64), binary(payload)>",
	"redis-result":    "variant<nil, status(string), int64(s64), binary(payload)>",
	"error":           "variant<invalid-address, too-many-connections, type-error, other(string)>",
	"old-error":       "enum<success, error>",
}

func connectionInterface(name, async string, form func(string, body) canon.HostFunc) host.Interface {
	i := host.Interface{Name: name, Types: redisTypes, Resources: map[string]host.Drop{"connection": dropHeld}, Funcs: map[string]host.Func{}}
	add := func(fn, t string, b body) {
		i.Funcs[fn] = host.Func{Type: async + "func(" + t, Call: form(name+"#"+fn, b)}
	}
	add("[static]connection.open", "address: string) -> result<own<connection>, error>", connectionOpen)
	add("[method]connection.publish", "self: borrow<connection>, channel: string, payload: payload) -> result<_, error>", connectionPublish)
	add("[method]connection.get", "self: borrow<connection>, key: string) -> result<option<payload>, error>", connectionGet)
	add("[method]connection.set", "self: borrow<connection>, key: string, value: payload) -> result<_, error>", connectionSet)
	add("[method]connection.incr", "self: borrow<connection>, key: string) -> result<s64, error>", connectionIncr)
	add("[method]connection.del", "self: borrow<connection>, keys: list<string>) -> result<u32, error>", connectionDel)
	add("[method]connection.sadd", "self: borrow<connection>, key: string, values: list<string>) -> result<u32, error>", connectionMembersOf("SADD"))
	add("[method]connection.smembers", "self: borrow<connection>, key: string) -> result<list<string>, error>", connectionSmembers)
	add("[method]connection.srem", "self: borrow<connection>, key: string, values: list<string>) -> result<u32, error>", connectionMembersOf("SREM"))
	add("[method]connection.execute", "self: borrow<connection>, command: string, arguments: list<redis-parameter>) -> result<list<redis-result>, error>", connectionExecute)
	return i
}

func borrowConnection(in *canon.Reader) connection { return canon.Borrow[*held](in).connection }

// write writes the error variant.
func (f *failure) write(out *canon.Writer) {
	if f.tag == otherFailure {
		failText(out, f.tag, f.text)
		return
	}
	out.Err()
	out.Case(int(f.tag))
}

// doneFailure answers a result that holds nothing.
func doneFailure(f *failure) answer {
	return func(out *canon.Writer) {
		if f != nil {
			f.write(out)
			return
		}
		out.OK()
	}
}

func connectionOpen(g *caller, in *canon.Reader) work {
	address, call := g.text(in), g.call
	return func(g *caller) answer {
		c, f := g.connect(address)
		if l := g.call.loose; f == nil && l != nil {
			c.release = l.keep(c.release)
		}
		return func(out *canon.Writer) {
			if f != nil {
				f.write(out)
				return
			}
			h := call.guest.caller.holdObject(handle{kind: connectionKind, connection: c}, call.limits.Connections)
			if h == nil {
				c.release()
				(&failure{tag: tooManyConnections}).write(out)
				return
			}
			out.OK()
			out.Own(h)
		}
	}
}

func connectionPublish(g *caller, in *canon.Reader) work {
	c, channel, payload := borrowConnection(in), g.text(in), g.content(in)
	return func(g *caller) answer { return doneFailure(g.publish(c, channel, payload)) }
}

func connectionGet(g *caller, in *canon.Reader) work {
	c, key := borrowConnection(in), g.text(in)
	return func(g *caller) answer {
		value, found, f := g.get(c, key)
		return func(out *canon.Writer) {
			switch {
			case f != nil:
				f.write(out)
			case !found:
				out.OK()
				out.None()
			default:
				out.OK()
				out.Some()
				out.Bytes(value)
			}
		}
	}
}

func connectionSet(g *caller, in *canon.Reader) work {
	c, key, value := borrowConnection(in), g.text(in), g.content(in)
	return func(g *caller) answer { return doneFailure(g.set(c, key, value)) }
}

func connectionIncr(g *caller, in *canon.Reader) work {
	c, key := borrowConnection(in), g.text(in)
	return func(g *caller) answer {
		n, f := g.incr(c, key)
		return func(out *canon.Writer) {
			if f != nil {
				f.write(out)
				return
			}
			out.OK()
			out.S64(n)
		}
	}
}

// fits makes a failure of a count beyond the u32 that it is in the WIT.
func fits(n int64, f *failure) *failure {
	if f == nil && n != int64(uint32(n)) {
		return otherf("%d does not fit the u32 of the answer", n)
	}
	return f
}

func countAnswer(n int64, f *failure) answer {
	return func(out *canon.Writer) {
		if f := fits(n, f); f != nil {
			f.write(out)
			return
		}
		out.OK()
		out.U32(uint32(n))
	}
}

func connectionDel(g *caller, in *canon.Reader) work {
	c, command := borrowConnection(in), g.words(in, "keys", "DEL")
	return func(g *caller) answer { return countAnswer(g.integer(c, nil, command...)) }
}

func connectionMembersOf(command string) body {
	return func(g *caller, in *canon.Reader) work {
		c, key := borrowConnection(in), g.text(in)
		args := g.words(in, "values", command, key)
		return func(g *caller) answer { return countAnswer(g.integer(c, wrongType, args...)) }
	}
}

func connectionSmembers(g *caller, in *canon.Reader) work {
	c, key := borrowConnection(in), g.text(in)
	return func(g *caller) answer {
		members, f := g.members(c, key)
		return func(out *canon.Writer) {
			if f != nil {
				f.write(out)
				return
			}
			out.OK()
			writeMembers(out, members)
		}
	}
}

func writeMembers(out *canon.Writer, members [][]byte) {
	out.List(len(members))
	for _, m := range members {
		out.Text(m)
	}
}

func connectionExecute(g *caller, in *canon.Reader) work {
	c, command, arguments := borrowConnection(in), g.text(in), g.readParameters(in)
	return func(g *caller) answer {
		r, f := g.run(c, command, arguments)
		return func(out *canon.Writer) {
			if f != nil {
				f.write(out)
				return
			}
			out.OK()
			r.write(out)
		}
	}
}

// readParameters reads a list<redis-parameter>.
func (g *caller) readParameters(in *canon.Reader) []any {
	n := g.length(in, "arguments")
	out := make([]any, 0, n+1)
	for range n {
		if in.Case() == 0 {
			out = append(out, strconv.AppendInt(nil, in.S64(), 10))
			continue
		}
		out = append(out, g.content(in))
	}
	return out
}

// write writes a list<redis-result>. That the reply can be walked was found when its results were counted.
func (r reply) write(out *canon.Writer) {
	out.List(int(r.n))
	_ = flatten(r.first, r.rest, func(it item) error {
		tag, text := it.result()
		out.Case(int(tag))
		switch tag {
		case statusResult:
			out.Text(text)
		case int64Result:
			out.S64(it.n)
		case binaryResult:
			out.Bytes(text)
		}
		return nil
	})
}
