package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// redisV1Interface are the operations of redisV1Functions.
func redisV1Interface() host.Interface {
	const name = "fermyon:spin/redis"
	i := host.Interface{Name: name, Types: redisTypes, Funcs: map[string]host.Func{}}
	add := func(fn, t string, b body) {
		i.Funcs[fn] = host.Func{Type: "func(address: string, " + t, Call: waiting(name+"#"+fn, b)}
	}
	add("publish", "channel: string, payload: payload) -> result<_, old-error>", oldPublish)
	add("get", "key: string) -> result<payload, old-error>", oldGet)
	add("set", "key: string, value: payload) -> result<_, old-error>", oldSet)
	add("incr", "key: string) -> result<s64, old-error>", oldIncr)
	add("del", "keys: list<string>) -> result<s64, old-error>", oldDel)
	add("sadd", "key: string, values: list<string>) -> result<s64, old-error>", oldMembersOf("SADD"))
	add("smembers", "key: string) -> result<list<string>, old-error>", oldSmembers)
	add("srem", "key: string, values: list<string>) -> result<s64, old-error>", oldMembersOf("SREM"))
	add("execute", "command: string, arguments: list<redis-parameter>) -> result<list<redis-result>, old-error>", oldExecute)
	return i
}

// oldAnswer writes ok where the operation went well, else the enum's case "error".
func oldAnswer(ok bool, payload answer) answer {
	return func(out *canon.Writer) {
		if !ok {
			out.Err()
			out.Enum(int(v1Error))
			return
		}
		out.OK()
		payload.write(out)
	}
}

func oldPublish(g *caller, in *canon.Reader) work {
	address, channel, payload := g.text(in), g.text(in), g.content(in)
	return func(g *caller) answer {
		return oldAnswer(g.connected(address, func(c connection) *failure { return g.publish(c, channel, payload) }), nil)
	}
}

func oldSet(g *caller, in *canon.Reader) work {
	address, key, value := g.text(in), g.text(in), g.content(in)
	return func(g *caller) answer {
		return oldAnswer(g.connected(address, func(c connection) *failure { return g.set(c, key, value) }), nil)
	}
}

func oldGet(g *caller, in *canon.Reader) work {
	address, key := g.text(in), g.text(in)
	return func(g *caller) answer {
		var value []byte
		ok := g.connected(address, func(c connection) (f *failure) {
			value, _, f = g.get(c, key)
			return f
		})
		return oldAnswer(ok, func(out *canon.Writer) { out.Bytes(value) })
	}
}

func oldSmembers(g *caller, in *canon.Reader) work {
	address, key := g.text(in), g.text(in)
	return func(g *caller) answer {
		var members [][]byte
		ok := g.connected(address, func(c connection) (f *failure) {
			members, f = g.members(c, key)
			return f
		})
		return oldAnswer(ok, func(out *canon.Writer) { writeMembers(out, members) })
	}
}

func oldExecute(g *caller, in *canon.Reader) work {
	address, command, arguments := g.text(in), g.text(in), g.readParameters(in)
	return func(g *caller) answer {
		var r reply
		ok := g.connected(address, func(c connection) (f *failure) {
			r, f = g.run(c, command, arguments)
			return f
		})
		return oldAnswer(ok, r.write)
	}
}

// oldCount answers the s64 of op.
func (g *caller) oldCount(address string, op func(connection) (int64, *failure)) answer {
	var n int64
	ok := g.connected(address, func(c connection) (f *failure) {
		n, f = op(c)
		return f
	})
	return oldAnswer(ok, func(out *canon.Writer) { out.S64(n) })
}

func oldIncr(g *caller, in *canon.Reader) work {
	address, key := g.text(in), g.text(in)
	return func(g *caller) answer {
		return g.oldCount(address, func(c connection) (int64, *failure) { return g.incr(c, key) })
	}
}

func oldDel(g *caller, in *canon.Reader) work {
	address, command := g.text(in), g.words(in, "keys", "DEL")
	return func(g *caller) answer {
		return g.oldCount(address, func(c connection) (int64, *failure) { return g.integer(c, nil, command...) })
	}
}

func oldMembersOf(command string) body {
	return func(g *caller, in *canon.Reader) work {
		address, key := g.text(in), g.text(in)
		args := g.words(in, "values", command, key)
		return func(g *caller) answer {
			return g.oldCount(address, func(c connection) (int64, *failure) { return g.integer(c, wrongType, args...) })
		}
	}
}
