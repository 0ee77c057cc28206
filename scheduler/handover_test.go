package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	redisendpoint "github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// ledger holds what comes against what was published: numbers from 1 on each channel, each once and in order, for each target that matches.
type ledger struct {
	mu    sync.Mutex
	last  map[string]int // by kind, pattern and channel
	lost  int
	twice int // or out of order
	came  int
	at    map[string]time.Time // when the last one came
	holes [][2]time.Time       // between which something was lost
}

func (l *ledger) note(f frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := strconv.Atoi(string(f.payload))
	if err != nil {
		return
	}
	key := string(f.kind) + string(f.pattern) + "|" + string(f.channel)
	last := l.last[key]
	l.came++
	switch {
	case n > last:
		now := time.Now()
		if n > last+1 {
			l.lost += n - last - 1
			l.holes = append(l.holes, [2]time.Time{l.at[key], now})
		}
		l.last[key], l.at[key] = n, now
	default:
		l.twice++
	}
}

// reached tells whether the last number of each of these has come.
func (l *ledger) reached(n map[string]int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, want := range n {
		if l.last[key] < want {
			return false
		}
	}
	return true
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came
}

func newLedger() *ledger { return &ledger{last: map[string]int{}, at: map[string]time.Time{}} }

// crowd publishes numbers on channels of its own, from several sides, until stop.
type crowd struct {
	group sync.WaitGroup
	once  sync.Once
	end   chan struct{}
	mu    sync.Mutex
	sent  map[string]int // by channel
}

// publishing has n publishers, of which each has channels "<prefix><publisher>.<i>" for i below channels. It publishes in pipelines.
func publishing(t testing.TB, s *redistest.Server, prefix string, n, channels int) *crowd {
	return publishingAt(t, s, prefix, n, channels, time.Microsecond)
}

// publishingAt lets each publisher publish at most once in a while.
func publishingAt(t testing.TB, s *redistest.Server, prefix string, n, channels int, every time.Duration) *crowd {
	c := &crowd{end: make(chan struct{}), sent: map[string]int{}}
	t.Cleanup(func() { c.stop() })
	for p := range n {
		client := s.Client()
		c.group.Go(func() {
			numbers := make([]int, channels)
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-c.end:
					return
				case <-tick.C:
				}
				_, err := client.Pipelined(context.Background(), func(pipe redis.Pipeliner) error {
					for i := range numbers {
						numbers[i]++
						pipe.Publish(context.Background(), fmt.Sprintf("%s%d.%d", prefix, p, i), numbers[i])
					}
					return nil
				})
				if err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				c.mu.Lock()
				for i, n := range numbers {
					c.sent[fmt.Sprintf("%s%d.%d", prefix, p, i)] = n
				}
				c.mu.Unlock()
			}
		})
	}
	return c
}

// stop ends the publishers and returns what they sent, by channel.
func (c *crowd) stop() map[string]int {
	c.once.Do(func() { close(c.end) })
	c.group.Wait()
	return c.sent
}

// TestHandovers replaces the connection 20 times under four publishers: nothing is lost, nothing comes twice or out of order, and no gap is told.
func TestHandovers(t *testing.T) {
	for _, protocol := range []int{3, 2} {
		t.Run(fmt.Sprint("RESP ", protocol), func(t *testing.T) {
			s := redistest.Start(t)
			w := watchEndpoint(t, Endpoint{Dial: dialler(t, fmt.Sprintf("%s?protocol=%d", s.URL, protocol)), Publish: publisher(s.Client())}, 0)
			l := newLedger()
			w.note = l.note
			for p := range 4 {
				for i := range 8 {
					w.Add(channel("c%d.%d", p, i))
				}
			}
			w.Add(tenants.Target{Kind: tenants.Pattern, Name: "c1.*"})
			w.Add(tenants.Target{Kind: tenants.Pattern, Name: "*"}) // matches the control channel, of which nothing must be seen
			w.awaitAll(Active)
			crowd := publishing(t, s, "c", 4, 8)
			for i := range 20 {
				before := l.count()
				w.await("traffic", func() bool { return l.count() > before+2000 })
				if err := w.Renew(t.Context(), "test"); err != nil {
					t.Fatalf("handover %d: %v", i, err)
				}
			}
			want := map[string]int{}
			for name, n := range crowd.stop() {
				want["m|"+name], want["p*|"+name] = n, n
				if strings.HasPrefix(name, "c1.") {
					want["pc1.*|"+name] = n
				}
			}
			w.await("the last messages", func() bool { return l.reached(want) })
			if l.lost != 0 || l.twice != 0 {
				t.Errorf("%d lost, %d twice or out of order", l.lost, l.twice)
			}
			if len(l.last) != len(want) {
				t.Errorf("messages of %d targets came, want %d", len(l.last), len(want))
			}
			if g := w.interruptions(); len(g) != 0 {
				t.Errorf("gaps: %+v", g)
			}
			subscribers(t, s.Client(), "c0.0", 1)
			t.Logf("%d messages over 20 handovers", l.came)
		})
	}
}

// rotating dials with the credential that is in force.
type rotating struct {
	dial atomic.Pointer[func(context.Context) (net.Conn, error)]
}

func (r *rotating) use(t testing.TB, url string) {
	d := dialler(t, url)
	r.dial.Store(&d)
}

func (r *rotating) Dial(ctx context.Context) (net.Conn, error) { return (*r.dial.Load())(ctx) }

// TestRotation moves to a new user, who may not subscribe to everything; then the old one is deleted, and nothing is interrupted.
func TestRotation(t *testing.T) {
	s := redistest.Start(t, "--user", "v1", "on", ">pw", "&*", "+subscribe", "+psubscribe", "+unsubscribe", "+ping",
		"--user", "v2", "on", ">pw", "resetchannels", "&ok*", "&"+ControlPrefix+"*", "+subscribe", "+psubscribe", "+unsubscribe", "+ping")
	c := s.Client()
	var r rotating
	r.use(t, s.As("v1", "pw"))
	w := watchEndpoint(t, Endpoint{Dial: r.Dial, Publish: publisher(c)}, 0)
	for i := range 700 {
		w.Add(channel("ok%d", i))
	}
	w.Add(channel("bad"))
	w.awaitAll(Active)
	r.use(t, s.As("v2", "wrong"))
	if err := w.Renew(t.Context(), "rotation"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
	if n := w.count(Active); n != 701 {
		t.Errorf("%d active after a failed renewal", n)
	}
	r.use(t, s.As("v2", "pw"))
	if err := w.Renew(t.Context(), "rotation"); err != nil {
		t.Fatal(err)
	}
	if a, b := w.count(Active), w.count(Rejected); a != 700 || b != 1 {
		t.Errorf("%d active, %d rejected", a, b)
	}
	for _, x := range w.States() {
		if x.Name == "bad" && (x.State != Rejected || !strings.HasPrefix(x.Reason, "NOPERM")) {
			t.Errorf("%+v", x)
		}
	}
	do(t, c, "ACL", "DELUSER", "v1")
	if n, err := c.Publish(t.Context(), "ok1", "x").Result(); n != 1 || err != nil {
		t.Errorf("published to %d, %v", n, err)
	}
	w.await("a message", func() bool { return w.got("m||ok1|x") })
	if g := w.interruptions(); len(g) != 0 {
		t.Errorf("gaps: %+v", g)
	}
}

// TestHandoverWithoutFence: nothing twice, and what may be lost is announced with its bound, which holds.
func TestHandoverWithoutFence(t *testing.T) {
	quiet := func(t *testing.T, why string, publish func(*redis.Client) func(context.Context, string, []byte) error, rules ...string) {
		t.Run(why, func(t *testing.T) {
			s := redistest.Start(t, append([]string{"--user", "app", "on", ">pw", "+subscribe", "+unsubscribe", "+ping"}, rules...)...)
			w := watchEndpoint(t, Endpoint{Dial: dialler(t, s.As("app", "pw")), Publish: publish(s.Client())}, 0)
			l := newLedger()
			w.note = l.note
			for i := range 8 {
				w.Add(channel("c0.%d", i))
			}
			w.awaitAll(Active)
			if err := w.Renew(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			if g := w.interruptions(); len(g) != 0 {
				t.Errorf("gaps where nothing was published: %+v", g)
			}
			crowd := publishing(t, s, "c", 1, 8)
			for range 5 {
				if err := w.Renew(t.Context(), "test"); err != nil {
					t.Fatal(err)
				}
			}
			before := l.count() // what is lost shows at the next message
			w.await("traffic", func() bool { return l.count() > before+100 })
			want := map[string]int{}
			for name, n := range crowd.stop() {
				want["m|"+name] = n
			}
			w.await("the last messages", func() bool { return l.reached(want) })
			var atMost int64
			unknown := false // on a machine that is so busy that a connection lags by seconds
			for _, g := range w.interruptions() {
				lagged := strings.Contains(g.Cause, "lagged")
				unknown = unknown || lagged
				if g.Targets != 8 || (g.AtMost == 0) != lagged || !strings.Contains(g.Cause, why) || g.Until.Before(g.Since) {
					t.Errorf("%+v", g)
				}
				atMost += g.AtMost
			}
			if l.twice != 0 || int64(l.lost) > atMost && !unknown {
				t.Errorf("%d twice, %d lost, announced %d at most", l.twice, l.lost, atMost)
			}
			t.Logf("%d messages, %d lost, %d at most announced in %d gaps", l.came, l.lost, atMost, len(w.interruptions()))
		})
	}
	none := func(*redis.Client) func(context.Context, string, []byte) error { return nil }
	lost := func(*redis.Client) func(context.Context, string, []byte) error {
		return func(context.Context, string, []byte) error { return errors.New("no way to publish") }
	}
	quiet(t, "no control channel", none, "&*")
	quiet(t, "no control channel", publisher, "resetchannels", "&c*")
	quiet(t, "no fence came", lost, "&*")
}

// slow is a socket whose reads wait for a gate.
type slow struct {
	net.Conn
	gate chan struct{}
	held *atomic.Bool
}

func (s slow) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 && s.held.Load() {
		<-s.gate
	}
	return n, err
}

// TestHandoverHasABound: an old connection that lags behind is waited for, but not for ever, and then it is said.
func TestHandoverHasABound(t *testing.T) {
	s := redistest.Start(t)
	dial, dials := dialler(t, s.URL), 0
	var held atomic.Bool
	gate := make(chan struct{})
	w := watchEndpoint(t, Endpoint{Publish: publisher(s.Client()), Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if dials++; dials > 1 || err != nil {
			return c, err
		}
		return slow{c, gate, &held}, nil
	}}, 10*time.Second)
	l := newLedger()
	w.note = l.note
	w.Add(channel("c"))
	w.awaitAll(Active)
	c := s.Client()
	held.Store(true)
	publishNumber := func(n int) {
		if err := c.Publish(t.Context(), "c", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publishNumber(1) // is read by the old connection, and handed over too late
	renewed := make(chan error)
	go func() { renewed <- w.Renew(t.Context(), "test") }()
	if err := <-renewed; err != nil {
		t.Fatal(err)
	}
	publishNumber(2)
	w.await("the next message", func() bool { return l.reached(map[string]int{"m|c": 2}) })
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	if g := w.interruptions()[0]; g.Targets != 1 || !strings.Contains(g.Cause, "lagged") {
		t.Errorf("%+v", g)
	}
	close(gate)
	if l.twice != 0 || l.lost > 1 {
		t.Errorf("%d twice, %d lost", l.twice, l.lost)
	}
}

// TestBridgeHasABound: without a fence, too, an old connection that does not stop is cut off, and then nobody says how much is lost: here it lags
// behind all that the new one has seen.
func TestBridgeHasABound(t *testing.T) {
	s := redistest.Start(t)
	dial, dials := dialler(t, s.URL), 0
	var held atomic.Bool
	gate := make(chan struct{})
	w := watchEndpoint(t, Endpoint{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if dials++; dials > 1 || err != nil {
			return c, err
		}
		return slow{c, gate, &held}, nil
	}}, 10*time.Second)
	l := newLedger()
	w.note = l.note
	w.Add(channel("c"))
	w.awaitAll(Active)
	c := s.Client()
	publishNumber := func(n int) {
		if err := c.Publish(t.Context(), "c", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publishNumber(1)
	w.await("the first message", func() bool { return l.reached(map[string]int{"m|c": 1}) })
	held.Store(true)
	publishNumber(2) // is read by the old connection, and handed over too late
	if err := w.Renew(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	publishNumber(3)
	w.await("the next message", func() bool { return l.reached(map[string]int{"m|c": 3}) })
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	if g := w.interruptions()[0]; g.Targets != 1 || g.AtMost != 0 || !strings.Contains(g.Cause, "without a fence") || !strings.Contains(g.Cause, "lagged") {
		t.Errorf("%+v", g)
	}
	close(gate)
	if l.twice != 0 || l.lost != 1 {
		t.Errorf("%d twice, %d lost", l.twice, l.lost)
	}
}

// TestHandoverFails: whatever ends half-way, targets are active again afterwards and the server holds each once.
func TestHandoverFails(t *testing.T) {
	type stage struct {
		s    *redistest.Server
		c    *redis.Client
		w    *watched
		kill func(n int) // ends the n-th connection
	}
	for name, row := range map[string]struct {
		at   func(st *stage) // at the publishing of the fence, before it is sent
		want string          // of Renew's error; "" for none
	}{
		"new ends before the fence": {func(st *stage) { st.kill(2) }, errNewGone.Error()},
		"old ends before the fence": {func(st *stage) { st.kill(1) }, ""},
		"both end":                  {func(st *stage) { st.kill(1); st.kill(2) }, errNewGone.Error()},
		"targets come and go": {func(st *stage) {
			st.w.Remove(channel("a"))
			st.w.Add(channel("new"))
			st.w.Remove(channel("b"))
			st.w.Add(channel("b"))
		}, ""},
		"the server is gone": {func(st *stage) { st.s.Restart() }, errNewGone.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			st := &stage{s: redistest.Start(t)}
			st.c = st.s.Client()
			dial := dialler(t, st.s.URL)
			var mu sync.Mutex
			var all []net.Conn
			st.kill = func(n int) {
				mu.Lock()
				defer mu.Unlock()
				all[n-1].Close()
			}
			send := publisher(st.c)
			var once sync.Once
			st.w = watchEndpoint(t, Endpoint{
				Dial: func(ctx context.Context) (net.Conn, error) {
					c, err := dial(ctx)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						all = append(all, c)
					}
					return c, err
				},
				Publish: func(ctx context.Context, channel string, payload []byte) error {
					if payload[0] == 'f' {
						once.Do(func() { row.at(st) })
					}
					return send(ctx, channel, payload)
				},
			}, 0)
			for _, name := range []string{"a", "b", "c"} {
				st.w.Add(channel("%s", name))
			}
			st.w.awaitAll(Active)
			err := st.w.Renew(t.Context(), "test")
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("Renew: %v, want %q", err, row.want)
			}
			st.w.awaitAll(Active)
			for _, x := range st.w.States() {
				subscribers(t, st.c, x.Name, 1)
				if err := st.c.Publish(t.Context(), x.Name, "after").Err(); err != nil {
					t.Fatal(err)
				}
				st.w.await("a message on "+x.Name, func() bool { return st.w.got("m||" + x.Name + "|after") })
			}
			if err := st.w.Renew(t.Context(), "again"); err != nil {
				t.Errorf("another: %v", err)
			}
			for _, x := range st.w.States() {
				subscribers(t, st.c, x.Name, 1)
			}
			st.w.mu.Lock()
			defer st.w.mu.Unlock()
			for what, n := range st.w.seen {
				if n != 1 {
					t.Errorf("%s came %d times", what, n)
				}
			}
		})
	}
}

// TestHandoverEndsWithTheHub in the middle of one.
func TestHandoverEndsWithTheHub(t *testing.T) {
	s := redistest.Start(t)
	begun := make(chan struct{}, 1)
	w := watchEndpoint(t, Endpoint{Dial: dialler(t, s.URL), Publish: func(ctx context.Context, _ string, payload []byte) error {
		if payload[0] == 'f' {
			begun <- struct{}{}
			<-ctx.Done()
		}
		return ctx.Err()
	}}, 0)
	w.Add(channel("a"))
	w.awaitAll(Active)
	renewed := make(chan error)
	go func() { renewed <- w.Renew(t.Context(), "test") }()
	<-begun
	w.stop()
	if err := <-renewed; err == nil {
		t.Error("Renew says that it is done")
	}
	if err := w.Renew(t.Context(), "test"); !errors.Is(err, errClosed) {
		t.Errorf("afterwards: %v", err)
	}
	if states := w.States(); len(states) != 1 || states[0].State != Closed {
		t.Errorf("%+v", states)
	}
	subscribers(t, s.Client(), "a", 0)
}

// TestDeafConnection: its server answers, but what is published does not come back, as after a failover that it does not know of.
func TestDeafConnection(t *testing.T) {
	s, elsewhere := redistest.Start(t), redistest.Start(t)
	var wrong atomic.Bool
	dial, astray := dialler(t, s.URL), dialler(t, elsewhere.URL)
	wrong.Store(true)
	w := watchEndpoint(t, Endpoint{Publish: publisher(s.Client()), Dial: func(ctx context.Context) (net.Conn, error) {
		if wrong.Load() {
			return astray(ctx)
		}
		return dial(ctx)
	}}, 100*time.Millisecond)
	w.Add(channel("a"))
	w.awaitAll(Active)
	wrong.Store(false)
	w.await("gap", func() bool { return len(w.interruptions()) > 0 })
	if g := w.interruptions()[0]; !strings.Contains(g.Cause, errDeaf.Error()) {
		t.Errorf("%+v", g)
	}
	w.awaitAll(Active)
	subscribers(t, s.Client(), "a", 1)
}

// TestDemotedMaster moves from a server that has become a replica to its master, under publishers on the master: both see one order.
func TestDemotedMaster(t *testing.T) {
	demoted, master := redistest.Start(t), redistest.Start(t)
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	do(t, demoted.Client(), "REPLICAOF", host, port)
	replica := demoted.Client()
	for link := ""; link != "connected"; runtime.Gosched() { // a connection may break while it turns into a replica
		if role, err := replica.Do(t.Context(), "ROLE").Slice(); err == nil && role[0] == "slave" {
			link = role[3].(string)
		}
	}
	var r rotating
	r.use(t, demoted.URL)
	w := watchEndpoint(t, Endpoint{Dial: r.Dial, Publish: publisher(master.Client())}, 0)
	l := newLedger()
	w.note = l.note
	for p := range 4 {
		w.Add(channel("c%d.0", p))
	}
	w.awaitAll(Active)
	crowd := publishing(t, master, "c", 4, 1)
	w.await("traffic", func() bool { return l.count() > 1000 })
	r.use(t, master.URL)
	if err := w.Renew(t.Context(), "failover"); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for name, n := range crowd.stop() {
		want["m|"+name] = n
	}
	w.await("the last messages", func() bool { return l.reached(want) })
	if g := w.interruptions(); l.lost != 0 || l.twice != 0 || len(g) != 0 {
		t.Errorf("%d lost, %d twice or out of order of %d, gaps %+v", l.lost, l.twice, l.came, g)
	}
	subscribers(t, demoted.Client(), "c0.0", 0)
	subscribers(t, master.Client(), "c0.0", 1)
}

// TestChangedPassword does not end a living connection; when that is lost, the reason is told until the password is right again.
func TestChangedPassword(t *testing.T) {
	s := redistest.Start(t, "--user", "app", "on", ">old", "&*", "+subscribe", "+ping")
	c := s.Client()
	var r rotating
	r.use(t, s.As("app", "old"))
	w := watchEndpoint(t, Endpoint{Dial: r.Dial}, 0)
	w.Add(channel("a"))
	w.awaitAll(Active)
	do(t, c, "ACL", "SETUSER", "app", "resetpass", ">new")
	if err := w.Renew(t.Context(), "rotation"); err == nil || w.count(Active) != 1 {
		t.Errorf("with the old password: %v, %d active", err, w.count(Active))
	}
	do(t, c, "CLIENT", "KILL", "TYPE", "pubsub")
	w.await("the reason", func() bool {
		x := w.States()[0]
		return x.State == Reconnecting && strings.Contains(x.Reason, "WRONGPASS")
	})
	r.use(t, s.As("app", "new"))
	w.awaitAll(Active)
}

// TestHandoverOverMutualTLS replaces connections to a server of a private authority that asks for a certificate, under publishers.
func TestHandoverOverMutualTLS(t *testing.T) {
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := redistest.StartMutual(t, ca)
	cert, key, err := ca.Client("hub", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := redisendpoint.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	options, err := plain.With(func(c *redisendpoint.Config) {
		c.TLS.CA, c.TLS.Cert, c.TLS.Key = ca.PEM(), cert, key
	})
	if err != nil {
		t.Fatal(err)
	}
	client := options.Client(nil)
	defer client.Close()
	w := watchEndpoint(t, Endpoint{Dial: options.Subscriber, Publish: func(ctx context.Context, channel string, payload []byte) error {
		return client.Publish(ctx, channel, payload).Err()
	}}, 0)
	l := newLedger()
	w.note = l.note
	w.Add(channel("c0.0"))
	w.awaitAll(Active)
	crowd := publishing(t, s, "c", 1, 1)
	for range 5 {
		before := l.count()
		w.await("traffic", func() bool { return l.count() > before+200 })
		if err := w.Renew(t.Context(), "certificate"); err != nil {
			t.Fatal(err)
		}
	}
	n := crowd.stop()["c0.0"]
	w.await("the last message", func() bool { return l.reached(map[string]int{"m|c0.0": n}) })
	if g := w.interruptions(); l.lost != 0 || l.twice != 0 || len(g) != 0 {
		t.Errorf("%d lost, %d twice, gaps %+v", l.lost, l.twice, g)
	}
}
