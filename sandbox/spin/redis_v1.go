package spin

// redisV1Functions are the operations that name their address each time (spin-redis of Spin 1, unversioned in Spin 2). Every error
// is the enum case "error"; a missing key is an empty list; counts are s64.
func redisV1Functions(module string) []function {
	return []function{
		{module: module, name: "publish", params: "iiiiiii", body: v1Publish},
		{module: module, name: "get", params: "iiiii", body: v1Get},
		{module: module, name: "set", params: "iiiiiii", body: v1Set},
		{module: module, name: "incr", params: "iiiii", body: v1Incr},
		{module: module, name: "del", params: "iiiii", body: v1Del},
		{module: module, name: "sadd", params: "iiiiiii", body: v1Sadd},
		{module: module, name: "smembers", params: "iiiii", body: v1Smembers},
		{module: module, name: "srem", params: "iiiiiii", body: v1Srem},
		{module: module, name: "execute", params: "iiiiiii", body: v1Execute},
	}
}

// v1Error is the enum's case "error"; its other case is "success".
const v1Error uint8 = 1

// connected runs op on the connection to address and gives it back.
func (g *caller) connected(address string, op func(connection) *failure) bool {
	c, f := g.connect(address)
	if f != nil {
		return false
	}
	defer c.release()
	return op(c) == nil
}

func v1Publish(g *guest, s stack) {
	address, channel, payload := g.str(s, 0, "address"), g.str(s, 2, "channel"), g.bytes(s, 4, "payload")
	ret := g.ret(s, 6, 2, 1)
	if !g.connected(address, func(c connection) *failure { return g.publish(c, channel, payload) }) {
		ret.fail(1, v1Error)
		return
	}
	ret.ok()
}

func v1Set(g *guest, s stack) {
	address, key, value := g.str(s, 0, "address"), g.str(s, 2, "key"), g.bytes(s, 4, "value")
	ret := g.ret(s, 6, 2, 1)
	if !g.connected(address, func(c connection) *failure { return g.set(c, key, value) }) {
		ret.fail(1, v1Error)
		return
	}
	ret.ok()
}

// v1List answers a list that op lowers.
func (g *guest) v1List(ret area, address string, op func(connection) (span, *failure)) {
	var list span
	ok := g.connected(address, func(c connection) (f *failure) {
		list, f = op(c)
		return f
	})
	if !ok {
		ret.fail(4, v1Error)
		return
	}
	ret.okSpan(list)
}

func v1Get(g *guest, s stack) {
	address, key := g.str(s, 0, "address"), g.str(s, 2, "key")
	g.v1List(g.ret(s, 4, 12, 4), address, func(c connection) (span, *failure) {
		value, _, f := g.get(c, key)
		if f != nil {
			return span{}, f
		}
		return lower(g, value), nil
	})
}

func v1Smembers(g *guest, s stack) {
	address, key := g.str(s, 0, "address"), g.str(s, 2, "key")
	g.v1List(g.ret(s, 4, 12, 4), address, func(c connection) (span, *failure) {
		members, f := g.members(c, key)
		if f != nil {
			return span{}, f
		}
		return g.lowerMembers(members), nil
	})
}

func v1Execute(g *guest, s stack) {
	address, command, arguments := g.str(s, 0, "address"), g.str(s, 2, "command"), g.parameters(s, 4)
	g.v1List(g.ret(s, 6, 12, 4), address, func(c connection) (span, *failure) { return g.execute(c, command, arguments) })
}

// v1Count answers the s64 of op.
func (g *guest) v1Count(ret area, address string, op func(connection) (int64, *failure)) {
	var n int64
	ok := g.connected(address, func(c connection) (f *failure) {
		n, f = op(c)
		return f
	})
	if !ok {
		ret.fail(8, v1Error)
		return
	}
	ret.ok()
	ret.u64(8, uint64(n))
}

func v1Incr(g *guest, s stack) {
	address, key := g.str(s, 0, "address"), g.str(s, 2, "key")
	g.v1Count(g.ret(s, 4, 16, 8), address, func(c connection) (int64, *failure) { return g.incr(c, key) })
}

func v1Del(g *guest, s stack) {
	address, command := g.str(s, 0, "address"), g.strs(s, 2, "keys", "DEL")
	g.v1Count(g.ret(s, 4, 16, 8), address, func(c connection) (int64, *failure) { return g.integer(c, nil, command...) })
}

func v1Sadd(g *guest, s stack) { v1Members(g, s, "SADD") }
func v1Srem(g *guest, s stack) { v1Members(g, s, "SREM") }

func v1Members(g *guest, s stack, command string) {
	address, key := g.str(s, 0, "address"), g.str(s, 2, "key")
	args := g.strs(s, 4, "values", command, key)
	g.v1Count(g.ret(s, 6, 16, 8), address, func(c connection) (int64, *failure) { return g.integer(c, wrongType, args...) })
}
