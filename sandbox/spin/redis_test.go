package spin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// step is one message for the guest, and what it prints in the first and in the second generation.
type step struct {
	fields []string
	v1, v2 string
}

func both(want string, fields ...string) step { return step{fields, want, want} }

// playSteps sends steps to every generation under both protocol versions, with "ADDR" replaced.
func playSteps(t *testing.T, server *redistest.Server, steps []step) {
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}
	for _, g := range generations {
		play(t, server, steps, g.name, g.v2, func(t *testing.T) func(...string) string {
			r := newRig(t, g)
			return func(fields ...string) string { return r.says(h, fields...) }
		})
	}
	for _, f := range forms {
		play(t, server, steps, f.name, f.v2, func(t *testing.T) func(...string) string {
			return func(fields ...string) string { return f.says(t, h, nil, fields...) }
		})
	}
}

func play(t *testing.T, server *redistest.Server, steps []step, name string, v2 bool, start func(*testing.T) func(fields ...string) string) {
	for _, protocol := range []string{"2", "3"} {
		t.Run(name+" RESP"+protocol, func(t *testing.T) {
			if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			says := start(t)
			for _, s := range steps {
				want := s.v1
				if v2 {
					want = s.v2
				}
				if w, rest, found := strings.Cut(want, "|"); found { // RESP2 and RESP3 differ
					want = w
					if protocol == "3" {
						want = rest
					}
				}
				fields := append([]string{s.fields[0], "redis://" + server.Addr + "/0?protocol=" + protocol}, s.fields[1:]...)
				if got := says(fields...); got != want {
					t.Errorf("%q\n got %s\nwant %s", s.fields, got, want)
				}
			}
		})
	}
}

func TestRedisOperations(t *testing.T) {
	const notType = "err 2"
	playSteps(t, redistest.Start(t), []step{
		both("ok", "publish", "out", "payload"),
		both("ok", "publish", "out\r\nFLUSHALL", ""),
		{[]string{"get", "missing"}, "ok ", "none"},
		both("ok", "set", "key", "v\x00\xff\r\n"),
		both(`ok v\x00\xff\x0d\x0a`, "get", "key"),
		both("ok", "set", "empty", ""),
		both("ok ", "get", "empty"),
		both("ok 1", "incr", "n"),
		both("ok 2", "incr", "n"),
		both("ok", "set", "n", "-9223372036854775808"),
		both("ok -9223372036854775807", "incr", "n"),
		{[]string{"incr", "key"}, "err 1", notType},
		both("ok 2", "sadd", "set", "a", "b", "a"),
		both("ok 0", "sadd", "set", "a"),
		both("ok 1", "srem", "set", "a", "c"),
		both("ok b", "smembers", "set"),
		both("ok ", "smembers", "missing"),
		{[]string{"sadd", "key", "a"}, "err 1", notType},
		{[]string{"srem", "key", "a"}, "err 1", notType},
		{[]string{"smembers", "key"}, "err 1", notType},
		{[]string{"incr", "set"}, "err 1", notType},
		{[]string{"get", "set"}, "err 1", notType},
		{[]string{"sadd", "set"}, "err 1", "err 3 ERR wrong number of arguments for 'sadd' command"},
		{[]string{"del"}, "err 1", "err 3 ERR wrong number of arguments for 'del' command"},
		both("ok 2", "del", "key", "set", "missing"),
		both("ok ", "smembers", "set"),
		both("ok int64 1", "execute", "SADD", bin("bytes"), bin("\xff\xfe")),
		{[]string{"smembers", "bytes"}, "err 1", "err 3 a member of the set is not valid UTF-8; read it with execute"},
	})
}

// The replies of execute: a status is told from a bulk string of the same text, whatever the command and the protocol.
func TestRedisExecute(t *testing.T) {
	const map3 = "err 3 Redis Map type is not supported"
	eval := func(script string) []string { return []string{"execute", "EVAL", bin(script), i64(0)} }
	playSteps(t, redistest.Start(t), []step{
		both("ok status PONG", "execute", "PING"),
		both("ok binary PONG", "execute", "PING", bin("PONG")),
		both("ok status OK", "execute", "SET", bin("k"), bin("OK")),
		both("ok binary OK", "execute", "GET", bin("k")),
		both("ok nil", "execute", "GET", bin("missing")),
		both("ok binary OK", "execute", "set", bin("k"), i64(-7), bin("GET")),
		both("ok binary -7", "execute", "GET", bin("k")),
		both("ok int64 -6", "execute", "INCR", bin("k")),
		both("ok int64 3", "execute", "RPUSH", bin("l"), bin("a"), bin("b"), i64(9223372036854775807)),
		both("ok binary a, binary b, binary 9223372036854775807", "execute", "LRANGE", bin("l"), i64(0), i64(-1)),
		both("ok ", "execute", "LRANGE", bin("none"), i64(0), i64(-1)),
		both("ok int64 1", "execute", "HSET", bin("h"), bin("f"), bin("v")),
		{[]string{"execute", "HGETALL", bin("h")}, "ok binary f, binary v|err 1", "ok binary f, binary v|" + map3},
		both("ok int64 1", "execute", "SADD", bin("s"), bin("m")),
		both("ok binary m", "execute", "SMEMBERS", bin("s")),
		both("ok int64 1", "execute", "ZADD", bin("z"), bin("1.5"), bin("m")),
		both("ok binary 1.5", "execute", "ZSCORE", bin("z"), bin("m")),
		both("ok binary m, binary 1.5", "execute", "ZRANGE", bin("z"), i64(0), i64(-1), bin("WITHSCORES")),
		both("ok status fine, binary fine, int64 4, nil, int64 1, int64 2",
			eval("return {redis.status_reply('fine'), 'fine', 4, false, {1, {2}}}")...),
		{eval("return redis.error_reply('MINE alone')"), "err 1", "err 3 MINE alone"},
		{eval("return {1, redis.error_reply('MINE nested')}"), "err 1", "err 3 MINE nested"},
		both("ok int64 1|ok int64 1", eval("redis.setresp(3); return true")...),
		both("ok binary 1e+20|ok binary 100000000000000000000", eval("return {double=1e20}")...),
		both("ok binary inf", eval("return {double=1/0}")...),
		both("ok binary 123456789012345678901234567890", eval("return {big_number='123456789012345678901234567890'}")...),
		{eval("return {map={a=1}}"), "ok binary a, int64 1|err 1", "ok binary a, int64 1|" + map3},
		{eval("return redis.call('HGETALL', 'h')"), "ok binary f, binary v", "ok binary f, binary v"},
		both("ok binary m", eval("return {set={m=true}}")...),
		{[]string{"execute", "INFO", bin("replication-none")}, "ok binary |err 1", "ok binary |err 3 Redis string with format attribute is not supported"},
		{[]string{"execute", "INCR", bin("l")}, "err 1", "err 3 WRONGTYPE Operation against a key holding the wrong kind of value"},
		{[]string{"execute", "NOSUCH", bin("x")}, "err 1", `err 3 ERR unknown command 'NOSUCH', with args beginning with: 'x' `},
		{[]string{"execute", "select", i64(1)}, "err 1", "err 3 SELECT changes the state of the connection, which is shared: use EVAL for a transaction, the address for a database or a user"},
		{[]string{"execute", "Client", bin("reply"), bin("off")}, "err 1", "err 3 CLIENT REPLY changes the state of the connection, which is shared"},
		both("ok binary -6", "execute", "GET", bin("k")),
	})
}

func TestRedisErrors(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "hunter2")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	const key = "key"
	tests := []struct {
		name, address string
		hosts         []string
		v2            string
	}{
		{"not listed", "redis://" + server.Addr, []string{"redis://example.com"}, "err 0"},
		{"no list", "redis://" + server.Addr, nil, "err 0"},
		{"not a URL", "redis://%zz", []string{"redis://127.0.0.1:*"}, "err 0"},
		{"unix", "unix:///run/redis.sock", []string{"*://*:*"}, "err 0"},
		{"dead", "redis://" + dead, []string{"redis://127.0.0.1:*"}, `err 3 dial "127.0.0.1": dial tcp ` + dead + ": connect: connection refused"},
		{"no password", "redis://" + server.Addr, []string{"redis://127.0.0.1:*"}, "err 3 NOAUTH Authentication required."},
		{"wrong password", "redis://:wr%6Fng@" + server.Addr, []string{"redis://127.0.0.1:*"}, "err 3 WRONGPASS"},
		{"right password", "redis://:hunter2@" + server.Addr, []string{"redis://127.0.0.1:*"}, "none"},
	}
	for _, g := range generations {
		r := newRig(t, g)
		for _, tt := range tests {
			t.Run(g.name+" "+tt.name, func(t *testing.T) {
				want := tt.v2
				if !g.v2 {
					want = "err 1"
					if tt.v2 == "none" {
						want = "ok "
					}
				}
				got := r.says(&spin.Host{Gate: newGate(t, tt.hosts...)}, "get", tt.address, key)
				if !strings.HasPrefix(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
				if strings.Contains(got, "hunter2") || strings.Contains(got, "wrong@") {
					t.Errorf("the text shows the password: %s", got)
				}
			})
		}
	}
	if got := newRig(t, version).says(&spin.Host{}, "get", "redis://"+server.Addr, key); got != "err 0" {
		t.Errorf("without a gate: %s", got)
	}
}

// A server may echo what it was sent: the password of the address is taken out.
func TestRedisErrorsHidePasswords(t *testing.T) {
	addr := serve(t, func(command []string) string {
		switch strings.ToUpper(command[0]) {
		case "AUTH":
			return "+OK\r\n"
		case "GET":
			return "-ERR s3cr:t@ and s3cr%3At%40 do not help\r\n"
		}
		return "+OK\r\n"
	})
	got := newRig(t, version).says(&spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}, "get", "redis://u:s3cr%3At%40@"+addr, "k")
	if want := "err 3 ERR [redacted] and [redacted] do not help"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRedisConnections(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr
	r := newRig(t, version)
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}
	if got, want := r.says(h, "open-many", address, "\x20"), "1024 err 1"; got != want {
		t.Errorf("opening 2048: %s, want %s", got, want)
	}
	// That invocation left its handles open and Close gave them back; get drops its own. The pool has room for two addresses in use, so
	// that a third shows what was not given back.
	for _, operation := range []string{"open-many", "get"} {
		for db := range 4 {
			if got := r.says(h, operation, fmt.Sprintf("%s/%d", address, db), "\x20"); got != "1024 err 1" && got != "none" {
				t.Fatalf("%s of database %d: %s", operation, db, got)
			}
		}
	}
	for db := range 4 {
		if got := newRig(t, shapeA).says(h, "get", fmt.Sprintf("%s/%d", address, db), "k"); got != "ok " {
			t.Fatalf("shape A, database %d: %s", db, got)
		}
	}
	h.Connections = 3
	if got, want := r.says(h, "open-many", address, "\x01"), "3 err 1"; got != want {
		t.Errorf("opening 64 of 3: %s, want %s", got, want)
	}
}

func TestRedisPoolFull(t *testing.T) {
	server := redistest.Start(t)
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}
	for db := range 2 {
		_, release, err := h.Gate.Redis(t.Context(), fmt.Sprintf("redis://%s/%d", server.Addr, db))
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	for _, g := range generations {
		if got := newRig(t, g).says(h, "get", "redis://"+server.Addr+"/2", "k"); got != "err 1" { // too-many-connections, error
			t.Errorf("%s: %s", g.name, got)
		}
	}
}

func TestRedisResultLimit(t *testing.T) {
	server := redistest.Start(t)
	ctx, client := t.Context(), server.Client()
	member := strings.Repeat("m", 64<<10)
	for i := range 32 {
		client.SAdd(ctx, "set", fmt.Sprint(i, member))
		client.RPush(ctx, "ints", i)
	}
	client.Set(ctx, "big", strings.Repeat("v", 1<<20), 0)
	client.Eval(ctx, "for i = 1, 70000 do redis.call('RPUSH', 'many', '') end", nil)
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*"), Limits: spin.Limits{ResultBytes: 1 << 20}}
	for _, g := range generations {
		r := newRig(t, g)
		want := "err 1"
		if g.v2 {
			want = "err 3 query result exceeds limit of 1048576 bytes"
		}
		for _, fields := range [][]string{
			{"get", "", "big"}, {"smembers", "", "set"}, {"execute", "", "GET", bin("big")}, {"execute", "", "SMEMBERS", bin("set")},
			{"execute", "", "LRANGE", bin("many"), i64(0), i64(-1)}, // small on the wire, above the limit in the guest
		} {
			fields[1] = "redis://" + server.Addr
			if got := r.says(h, fields...); got != want {
				t.Errorf("%s %q: %.80s, want %s", g.name, fields, got, want)
			}
		}
		if got := r.says(h, "execute", "redis://"+server.Addr, "LLEN", bin("ints")); got != "ok int64 32" {
			t.Errorf("afterwards: %s", got)
		}
	}
}

// A cancelled invocation leaves a command that blocks in Redis.
func TestRedisObeysCancel(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	for _, g := range generations {
		t.Run(g.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				for !strings.Contains(client.ClientList(t.Context()).Val(), "cmd=blpop") && t.Context().Err() == nil {
				}
				cancel(errShutdown)
			}()
			h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}
			_, err := newRig(t, g).run(ctx, h, nil, "0", "execute", "redis://"+server.Addr, "BLPOP", bin("never"), i64(0))
			if !errors.Is(err, errShutdown) {
				t.Errorf("got %v", err)
			}
			var trap *spin.Trap
			if errors.As(err, &trap) {
				t.Errorf("blames the guest: %v", err)
			}
		})
	}
}

var errShutdown = errors.New("shutdown")

// The server may be anybody's: what it answers is bounded, in depth too.
func TestRedisHostileServer(t *testing.T) {
	tests := []struct{ name, reply, want string }{
		{"deep", strings.Repeat("*1\r\n", 1<<20) + ":1\r\n", "err 3 reply nests deeper than 128 levels"},
		{"deep and wide", strings.Repeat("*2\r\n:1\r\n", 1<<16), "err 3 reply nests deeper than 128 levels"},
		{"depth in sequence", "*200\r\n" + strings.Repeat("*1\r\n:1\r\n", 200), "ok " + strings.TrimSuffix(strings.Repeat("int64 1, ", 200), ", ")},
		{"huge bulk", "$9000000000\r\n", "err 3 query result exceeds limit of 134217728 bytes"},
		{"unknown type", "?what\r\n", "err 3 redis: can't read raw reply: \"?what\""},
		{"status of bytes", "+\xff\r\n", `ok status \xef\xbf\xbd`},
		{"attribute", "|1\r\n+a\r\n+b\r\n+c\r\n", "err 3 Redis Attribute type is not supported"},
		{"push", "*1\r\n>1\r\n+a\r\n", "err 3 Redis Pub/Sub types are not supported"},
		{"blob error", "!5\r\nERR x\r\n", "err 3 ERR x"},
		{"null", "_\r\n", "ok nil"},
		{"null array", "*-1\r\n", "ok nil"},
		{"truth", "*2\r\n#t\r\n#f\r\n", "ok int64 1, int64 0"},
		{"not a number", ",nan\r\n", "ok binary NaN"},
		{"infinity", ",-inf\r\n", "ok binary -inf"},
		{"long error", "-ERR x" + strings.Repeat("é", 2000) + "\r\n", "err 3 ERR x" + strings.Repeat(`\xc3\xa9`, 1021) + `\xef\xbf\xbd`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := serve(t, func(command []string) string {
				if strings.EqualFold(command[0], "ANSWER") {
					return tt.reply
				}
				return "+OK\r\n"
			})
			got := newRig(t, version).says(&spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}, "execute", "redis://"+addr, "ANSWER")
			if got != tt.want {
				t.Errorf("got %.300s\nwant %.300s", got, tt.want)
			}
		})
	}
}

// serve is a network peer that speaks just enough RESP to answer what a test wants.
func serve(t *testing.T, answer func(command []string) string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the test closes l
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends when the client hangs up
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					command, err := readCommand(r)
					if err != nil {
						return
					}
					reply := answer(command)
					if strings.EqualFold(command[0], "HELLO") { // a server of RESP2
						reply = "-ERR unknown command\r\n"
					}
					if _, err := c.Write([]byte(reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func readCommand(r *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	command := make([]string, n)
	for i := range command {
		var size int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		for at := 0; at < len(b); {
			k, err := r.Read(b[at:])
			if err != nil {
				return nil, err
			}
			at += k
		}
		command[i] = string(b[:size])
	}
	return command, nil
}
