package spin

// redisFunctions are fermyon:spin/redis@2.0.0: a connection resource whose errors are a variant.
func redisFunctions() []function {
	const module = "fermyon:spin/redis@2.0.0"
	return []function{
		{module: module, name: "[static]connection.open", params: "iii", body: redisOpen},
		{module: module, name: "[method]connection.publish", params: "iiiiii", body: redisPublish},
		{module: module, name: "[method]connection.get", params: "iiii", body: redisGet},
		{module: module, name: "[method]connection.set", params: "iiiiii", body: redisSet},
		{module: module, name: "[method]connection.incr", params: "iiii", body: redisIncr},
		{module: module, name: "[method]connection.del", params: "iiii", body: redisDel},
		{module: module, name: "[method]connection.sadd", params: "iiiiii", body: redisSadd},
		{module: module, name: "[method]connection.smembers", params: "iiii", body: redisSmembers},
		{module: module, name: "[method]connection.srem", params: "iiiiii", body: redisSrem},
		{module: module, name: "[method]connection.execute", params: "iiiiii", body: redisExecute},
		{module: module, name: "[resource-drop]connection", params: "i", body: func(g *guest, s stack) { g.drop(s.u32(0), connectionKind) }},
	}
}

// failRedis writes the error variant at offset at.
func (a area) failRedis(at uint32, f *failure) {
	if f.tag == otherFailure {
		a.failText(at, f.tag, f.text)
		return
	}
	a.fail(at, f.tag)
}

// doneRedis writes a result that holds nothing.
func (a area) doneRedis(f *failure) {
	if f != nil {
		a.failRedis(4, f)
		return
	}
	a.ok()
}

func (g *guest) connection(s stack) connection { return g.handle(s.u32(0), connectionKind).connection }

func redisOpen(g *guest, s stack) {
	address := g.str(s, 0, "address")
	ret := g.ret(s, 2, 16, 4)
	c, f := g.connect(address)
	if f != nil {
		ret.failRedis(4, f)
		return
	}
	n := g.hold(handle{kind: connectionKind, connection: c}, g.call.limits.Connections)
	if n == 0 {
		c.release()
		ret.fail(4, tooManyConnections)
		return
	}
	ret.ok()
	ret.u32(4, n)
}

func redisPublish(g *guest, s stack) {
	c, channel, payload := g.connection(s), g.str(s, 1, "channel"), g.bytes(s, 3, "payload")
	ret := g.ret(s, 5, 16, 4)
	ret.doneRedis(g.publish(c, channel, payload))
}

func redisGet(g *guest, s stack) {
	c, key := g.connection(s), g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	value, found, f := g.get(c, key)
	if f != nil {
		ret.failRedis(4, f)
		return
	}
	var v span
	if found {
		v = lower(g, value)
	}
	ret.okOption(found, v)
}

func redisSet(g *guest, s stack) {
	c, key, value := g.connection(s), g.str(s, 1, "key"), g.bytes(s, 3, "value")
	ret := g.ret(s, 5, 16, 4)
	ret.doneRedis(g.set(c, key, value))
}

func redisIncr(g *guest, s stack) {
	c, key := g.connection(s), g.str(s, 1, "key")
	ret := g.ret(s, 3, 24, 8)
	n, f := g.incr(c, key)
	if f != nil {
		ret.failRedis(8, f)
		return
	}
	ret.ok()
	ret.u64(8, uint64(n))
}

// countRedis writes a u32, which is what these counts are in the WIT.
func (a area) countRedis(n int64, f *failure) {
	if f == nil && n != int64(uint32(n)) {
		f = otherf("%d does not fit the u32 of the answer", n)
	}
	if f != nil {
		a.failRedis(4, f)
		return
	}
	a.ok()
	a.u32(4, uint32(n))
}

func redisDel(g *guest, s stack) {
	c, command := g.connection(s), g.strs(s, 1, "keys", "DEL")
	ret := g.ret(s, 3, 16, 4)
	ret.countRedis(g.integer(c, nil, command...))
}

func redisSadd(g *guest, s stack) { redisMembers(g, s, "SADD") }
func redisSrem(g *guest, s stack) { redisMembers(g, s, "SREM") }

func redisMembers(g *guest, s stack, command string) {
	c, key := g.connection(s), g.str(s, 1, "key")
	args := g.strs(s, 3, "values", command, key)
	ret := g.ret(s, 5, 16, 4)
	ret.countRedis(g.integer(c, wrongType, args...))
}

func redisSmembers(g *guest, s stack) {
	c, key := g.connection(s), g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	members, f := g.members(c, key)
	if f != nil {
		ret.failRedis(4, f)
		return
	}
	ret.okSpan(g.lowerMembers(members))
}

func redisExecute(g *guest, s stack) {
	c, command, arguments := g.connection(s), g.str(s, 1, "command"), g.parameters(s, 3)
	ret := g.ret(s, 5, 16, 4)
	list, f := g.execute(c, command, arguments)
	if f != nil {
		ret.failRedis(4, f)
		return
	}
	ret.okSpan(list)
}
