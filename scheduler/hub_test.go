package scheduler

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	redisendpoint "github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// hubPatience is how long a test waits for what must happen.
const hubPatience = 30 * time.Second

// watched is a running hub and what it has told.
type watched struct {
	*hub
	t     testing.TB
	moved chan struct{} // capacity 1: something was told
	stop  func()        // ends Run and waits for it

	mu   sync.Mutex
	seen map[string]int // "kind|pattern|channel|payload" -> times
	last map[string]string
	note func(frame) // takes frames in place of seen, where not nil
	gaps []Gap
}

func dialler(t testing.TB, url string) func(context.Context) (net.Conn, error) {
	t.Helper()
	o, err := redisendpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return o.Subscriber
}

// always gives every connection the same sink.
func always(s sink) func() sink { return func() sink { return s } }

// watch runs a hub until the test ends.
func watch(t testing.TB, dial func(context.Context) (net.Conn, error), heartbeat time.Duration) *watched {
	return watchEndpoint(t, Endpoint{Dial: dial}, heartbeat)
}

// publisher publishes as a hub does.
func publisher(c *redis.Client) func(context.Context, string, []byte) error {
	return func(ctx context.Context, channel string, payload []byte) error {
		return c.Publish(ctx, channel, payload).Err()
	}
}

func watchEndpoint(t testing.TB, e Endpoint, heartbeat time.Duration) *watched {
	return watchLanes(t, e, heartbeat, 0)
}

// watchLanes has another connection for each so many targets.
func watchLanes(t testing.TB, e Endpoint, heartbeat time.Duration, perLane int) *watched {
	return watchBusy(t, e, heartbeat, perLane, 0)
}

// watchBusy has readers that are busy for so long with each message.
func watchBusy(t testing.TB, e Endpoint, heartbeat time.Duration, perLane int, each time.Duration) *watched {
	e.ID, e.Name = "e1", "redis"
	w := &watched{t: t, moved: make(chan struct{}, 1), seen: map[string]int{}, last: map[string]string{}}
	tell := func() {
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
	w.hub = newHub(e, hubConfig{
		heartbeat: heartbeat,
		perLane:   perLane,
		changed:   tell,
		gap: func(g Gap, _ []tenants.Target) {
			w.mu.Lock()
			w.gaps = append(w.gaps, g)
			w.mu.Unlock()
			tell()
		},
		sink: always(func(_ time.Time, frames []frame) {
			if each > 0 {
				time.Sleep(each * time.Duration(len(frames)))
			}
			w.mu.Lock()
			for _, f := range frames {
				if w.note != nil {
					w.note(f)
					continue
				}
				w.seen[fmt.Sprintf("%c|%s|%s|%s", f.kind, f.pattern, f.channel, f.payload)]++
				w.last[string(f.channel)] = string(f.payload)
			}
			w.mu.Unlock()
			tell()
		}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }() // ends with stop
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// await waits until cond holds, looking whenever the hub has told something.
func (w *watched) await(what string, cond func() bool) {
	w.t.Helper()
	late := time.After(hubPatience)
	for !cond() {
		select {
		case <-w.moved:
		case <-late:
			w.t.Fatalf("no %s within %v; states %.2000v", what, hubPatience, w.States())
		}
	}
}

func (w *watched) awaitAll(s State) {
	w.t.Helper()
	w.await("state "+s.String()+" everywhere", func() bool { return len(w.States()) > 0 && w.count(s) == len(w.States()) })
}

func (w *watched) count(s State) (n int) {
	for _, x := range w.States() {
		if x.State == s {
			n++
		}
	}
	return n
}

func (w *watched) got(message string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[message] > 0
}

func (w *watched) interruptions() []Gap {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.gaps)
}

func channel(format string, args ...any) tenants.Target {
	return tenants.Target{Kind: tenants.Exact, Name: fmt.Sprintf(format, args...)}
}

func do(t testing.TB, c *redis.Client, args ...any) any {
	t.Helper()
	v, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// subscribers polls until the server counts n subscribers of a channel.
func subscribers(t testing.TB, c *redis.Client, name string, n int64) {
	t.Helper()
	for begin := time.Now(); ; {
		got, err := c.PubSubNumSub(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got[name] == n {
			return
		}
		if time.Since(begin) > hubPatience {
			t.Fatalf("%d subscribers of %s, want %d", got[name], name, n)
		}
		runtime.Gosched()
	}
}

// servers are those that every test of the plain paths runs on.
func servers(t *testing.T, test func(t *testing.T, url string, c *redis.Client)) {
	for _, protocol := range []int{3, 2} {
		t.Run(fmt.Sprintf("redis-server, RESP %d", protocol), func(t *testing.T) {
			s := redistest.Start(t)
			test(t, fmt.Sprintf("%s?protocol=%d", s.URL, protocol), s.Client())
		})
		t.Run(fmt.Sprintf("miniredis, RESP %d", protocol), func(t *testing.T) {
			addr := redistest.Embedded(t)
			c := redis.NewClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { c.Close() })
			test(t, fmt.Sprintf("redis://%s?protocol=%d", addr, protocol), c)
		})
	}
}

func TestHubMessages(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		w := watch(t, dialler(t, url), 0)
		w.Add(channel("orders"))
		w.Add(tenants.Target{Kind: tenants.Pattern, Name: "ord*"})
		w.awaitAll(Active)
		large := strings.Repeat("0123456789abcdef", 1<<16) // four standing buffers
		for _, payload := range []string{"hello", "", "\r\n\x00\xff$3\r\n", large, "after"} {
			if n, err := c.Publish(t.Context(), "orders", payload).Result(); n != 2 || err != nil {
				t.Fatalf("published to %d, %v", n, err)
			}
			w.await("message", func() bool { return w.got("m||orders|"+payload) && w.got("p|ord*|orders|"+payload) })
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.seen) != 10 {
			t.Errorf("%d different messages, want 10", len(w.seen))
		}
		if len(w.gaps) != 0 {
			t.Errorf("gaps: %v", w.gaps)
		}
	})
}

func TestHubManyChannels(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		const many = 10_000
		w := watch(t, dialler(t, url), 0)
		var adders sync.WaitGroup
		for part := range 8 {
			adders.Go(func() {
				for i := part; i < many; i += 8 {
					w.Add(channel("c%d", i))
				}
			})
		}
		adders.Wait()
		w.await("10,000 active", func() bool { return w.count(Active) == many })
		for i := 0; i < many; i += 997 {
			name := fmt.Sprint("c", i)
			if n, err := c.Publish(t.Context(), name, "x").Result(); n != 1 || err != nil {
				t.Fatalf("%s: published to %d, %v", name, n, err)
			}
			w.await("message on "+name, func() bool { return w.got("m||" + name + "|x") })
		}
	})
}

func TestHubReferences(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		w := watch(t, dialler(t, url), 0)
		w.Add(channel("a"))
		w.Add(channel("a"))
		w.Add(channel("b"))
		w.awaitAll(Active)
		w.Remove(channel("a"))
		w.Remove(channel("b"))
		subscribers(t, c, "b", 0)
		subscribers(t, c, "a", 1)
		w.Remove(channel("a"))
		subscribers(t, c, "a", 0)
		w.Remove(channel("a")) // one too many does nothing
		if s := w.States(); len(s) != 0 {
			t.Errorf("left: %v", s)
		}
		w.Add(channel("a")) // the connection had nothing left and is used again
		w.awaitAll(Active)
		subscribers(t, c, "a", 1)
		if g := w.interruptions(); len(g) != 0 {
			t.Errorf("gaps: %v", g)
		}
	})
}

// TestHubRestartUnderTraffic kills redis-server under publishers and starts it again, three times.
func TestHubRestartUnderTraffic(t *testing.T) {
	const many = 1200
	s := redistest.Start(t)
	w := watch(t, dialler(t, s.URL), 0)
	for i := range many {
		w.Add(channel("c%d", i))
	}
	w.Add(tenants.Target{Kind: tenants.Pattern, Name: "p*"})
	w.awaitAll(Active)

	ctx, cancel := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	defer publishers.Wait()
	defer cancel()
	for range 2 {
		c := s.Client()
		publishers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c.Publish(ctx, fmt.Sprint("c", i%many), "traffic") // fails while the server is down
			}
		})
	}
	for round := 1; round <= 3; round++ {
		w.await("traffic", func() bool { return w.got("m||c1|traffic") })
		s.Kill()
		w.awaitAll(Reconnecting)
		w.Add(channel("new%d", round)) // wanted while there is no connection
		s.Restart()
		back := time.Now()
		w.awaitAll(Active)
		t.Logf("%d targets acknowledged %v after the server was back", len(w.States()), time.Since(back))
		w.await("gap", func() bool { return len(w.interruptions()) == round })
		g := w.interruptions()[round-1]
		if g.Targets != many+round || g.Endpoint != "e1" || !g.Since.Before(g.Until) || g.Cause == "" {
			t.Errorf("gap: %+v", g)
		}
		c := s.Client()
		for _, x := range w.States() {
			name := strings.Replace(x.Name, "*", "1", 1)
			if n, err := c.Publish(t.Context(), name, fmt.Sprint("round", round)).Result(); n != 1 || err != nil {
				t.Fatalf("%s: published to %d, %v", name, n, err)
			}
		}
		w.await("a message on each", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			n := 0
			for message := range w.seen {
				if strings.HasSuffix(message, fmt.Sprint("|round", round)) {
					n++
				}
			}
			return n == many+1+round
		})
	}
}

func TestHubClientKill(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watch(t, dialler(t, s.URL), 0)
	w.Add(channel("a"))
	for round := 1; round <= 5; round++ {
		w.awaitAll(Active)
		if n := do(t, c, "CLIENT", "KILL", "TYPE", "pubsub"); n != int64(1) {
			t.Fatalf("killed %v", n)
		}
		w.await("gap", func() bool { return len(w.interruptions()) == round })
	}
	w.awaitAll(Active)
	if n, err := c.Publish(t.Context(), "a", "x").Result(); n != 1 || err != nil {
		t.Fatalf("published to %d, %v", n, err)
	}
}

// TestHubRefused: the names that a user may not subscribe to are told apart from those it may, and are asked for anew once it may.
func TestHubRefused(t *testing.T) {
	s := redistest.Start(t, "--user", "app", "on", ">pw", "resetchannels", "&ok*", "+subscribe", "+psubscribe", "+ping", "+hello")
	c := s.Client()
	for _, protocol := range []string{"?protocol=3", "?protocol=2"} {
		w := watch(t, dialler(t, s.As("app", "pw")+protocol), 0)
		bad := map[tenants.Target]bool{
			{Kind: tenants.Exact, Name: "bad1"}: true, {Kind: tenants.Exact, Name: "bad2"}: true,
			{Kind: tenants.Pattern, Name: "bad*"}: true, {Kind: tenants.Pattern, Name: "ok1*"}: true, // a pattern is allowed by its text
		}
		for i := range 1200 {
			w.Add(channel("ok%d", i))
			if i == 700 {
				for x := range bad {
					w.Add(x)
				}
			}
		}
		w.Add(tenants.Target{Kind: tenants.Pattern, Name: "ok*"})
		w.await("verdict on each", func() bool { return w.count(Active) == 1201 && w.count(Rejected) == 4 })
		for _, x := range w.States() {
			if (x.State == Rejected) != bad[x.Target] || bad[x.Target] && !strings.HasPrefix(x.Reason, "NOPERM") {
				t.Errorf("%+v", x)
			}
		}
		do(t, c, "ACL", "SETUSER", "app", "&bad*")
		w.Add(channel("bad1"))
		w.await("bad1 active", func() bool { return w.count(Active) == 1202 && w.count(Rejected) == 3 })
		w.stop()
		do(t, c, "ACL", "SETUSER", "app", "resetchannels", "&ok*")
	}
}

// TestHubRevoked takes a channel and then the user away from a live connection: Redis closes it each time.
func TestHubRevoked(t *testing.T) {
	rules := []any{"on", ">pw", "resetchannels", "&a", "&b", "&c", "+subscribe", "+ping"}
	s := redistest.Start(t)
	c := s.Client()
	do(t, c, append([]any{"ACL", "SETUSER", "app"}, rules...)...)
	w := watch(t, dialler(t, s.As("app", "pw")), 0)
	for _, name := range []string{"a", "b", "c"} {
		w.Add(channel("%s", name))
	}
	w.awaitAll(Active)

	do(t, c, "ACL", "SETUSER", "app", "resetchannels", "&a", "&c")
	w.await("b rejected, the others back", func() bool { return w.count(Active) == 2 && w.count(Rejected) == 1 })
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	if g := w.interruptions()[0]; g.Targets != 3 {
		t.Errorf("gap: %+v", g)
	}

	do(t, c, "ACL", "DELUSER", "app")
	w.await("the reason", func() bool {
		return w.count(Reconnecting) == 2 && slices.ContainsFunc(w.States(), func(x TargetState) bool { return strings.Contains(x.Reason, "WRONGPASS") })
	})
	do(t, c, append([]any{"ACL", "SETUSER", "app"}, rules...)...)
	w.awaitAll(Active)
}

// TestHubUnsubscribeRefused: a user may lack UNSUBSCRIBE; the hub lives with what still comes.
func TestHubUnsubscribeRefused(t *testing.T) {
	s := redistest.Start(t, "--user", "app", "on", ">pw", "&*", "+subscribe", "+ping")
	w := watch(t, dialler(t, s.As("app", "pw")), 0)
	w.Add(channel("a"))
	w.Add(channel("b"))
	w.awaitAll(Active)
	w.Remove(channel("a"))
	w.Add(channel("c"))
	w.awaitAll(Active)
	subscribers(t, s.Client(), "a", 1)
	if g := w.interruptions(); len(g) != 0 {
		t.Errorf("gaps: %v", g)
	}
}

// TestHubHalfOpen loses a link without a word, and finds it again.
func TestHubHalfOpen(t *testing.T) {
	s := redistest.Start(t)
	link := redistest.Proxy(t, s.Addr)
	w := watch(t, dialler(t, "redis://"+link.Addr), 100*time.Millisecond)
	w.Add(channel("a"))
	w.awaitAll(Active)
	link.Blackhole()
	w.awaitAll(Reconnecting)
	link.Restore()
	w.awaitAll(Active)
	w.await("gap", func() bool { return len(w.interruptions()) > 0 })
	if g := w.interruptions()[0]; !strings.Contains(g.Cause, errSilent.Error()) {
		t.Errorf("gap: %+v", g)
	}
	link.Cut()
	w.awaitAll(Reconnecting)
	link.Restore()
	w.awaitAll(Active)
}

// TestHubPausedServer: a server that executes nothing delivers nothing either.
func TestHubPausedServer(t *testing.T) {
	s := redistest.Start(t)
	w := watch(t, dialler(t, s.URL), 100*time.Millisecond)
	w.Add(channel("a"))
	w.awaitAll(Active)
	do(t, s.Client(), "CLIENT", "PAUSE", 1000, "ALL")
	w.awaitAll(Reconnecting)
	w.awaitAll(Active)
}

// TestHubOverTLS is idle for several heartbeats: a read that times out must not harm a TLS connection.
func TestHubOverTLS(t *testing.T) {
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := redistest.StartTLS(t, ca)
	dials := 0
	w := watch(t, func(ctx context.Context) (net.Conn, error) {
		dials++
		return (&tls.Dialer{Config: &tls.Config{RootCAs: ca.Roots}}).DialContext(ctx, "tcp", s.Addr)
	}, 50*time.Millisecond)
	w.Add(channel("a"))
	w.awaitAll(Active)
	c := s.Client()
	for pings := 0; pings < 5; runtime.Gosched() {
		stats := do(t, c, "INFO", "commandstats").(string)
		if _, rest, found := strings.Cut(stats, "cmdstat_ping:calls="); found {
			fmt.Sscanf(rest, "%d", &pings)
		}
	}
	for i := range 100 {
		if err := c.Publish(t.Context(), "a", i).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.await("the last message", func() bool { return w.got("m||a|99") })
	w.stop()
	if dials != 1 {
		t.Errorf("%d connections", dials)
	}
}

// TestHubOversizedMessage ends the connection with the reason, and what follows is received again.
func TestHubOversizedMessage(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watch(t, dialler(t, s.URL), 0)
	w.Add(channel("a"))
	w.awaitAll(Active)
	if err := c.Publish(t.Context(), "a", strings.Repeat("x", maxFrame+1)).Err(); err != nil {
		t.Fatal(err)
	}
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	if g := w.interruptions()[0]; !strings.Contains(g.Cause, errTooLarge.Error()) {
		t.Errorf("gap: %+v", g)
	}
	w.awaitAll(Active)
	if err := c.Publish(t.Context(), "a", "small").Err(); err != nil {
		t.Fatal(err)
	}
	w.await("a small message", func() bool { return w.got("m||a|small") })
}

// TestHubHammer adds, removes and lists from many goroutines while connections are killed; afterwards the server holds what is wanted.
func TestHubHammer(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watch(t, dialler(t, s.URL), 0)
	w.Add(channel("keep"))
	w.awaitAll(Active)
	var hammers sync.WaitGroup
	for g := range 8 {
		hammers.Go(func() {
			for i := range 400 {
				x := channel("c%d", (i*7+g)%50)
				w.Add(x)
				if i%10 == 0 {
					w.States()
				}
				if i%3 == 0 {
					runtime.Gosched()
				}
				w.Remove(x)
			}
		})
	}
	hammers.Go(func() {
		for range 20 {
			if err := c.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
				t.Errorf("kill: %v", err)
			}
			w.Add(channel("kept"))
		}
	})
	hammers.Wait()
	w.await("two active and nothing else", func() bool { return len(w.States()) == 2 && w.count(Active) == 2 })
	for i := range 50 {
		subscribers(t, c, fmt.Sprint("c", i), 0)
	}
	subscribers(t, c, "keep", 1)
	subscribers(t, c, "kept", 1)
	w.targets.mu.Lock()
	defer w.targets.mu.Unlock()
	if w.targets.remembered() != 2 {
		t.Errorf("%d targets are remembered", w.targets.remembered())
	}
}

// TestHubLeavesNothing ends hubs in every situation and looks for goroutines of theirs or of go-redis, and for open sockets.
func TestHubLeavesNothing(t *testing.T) {
	s := redistest.Start(t)
	gone := redistest.Start(t)
	gone.Kill()
	link := redistest.Proxy(t, s.Addr)
	link.Blackhole()
	connected := watch(t, dialler(t, s.URL), 0)
	connected.Add(channel("a"))
	refused := watch(t, dialler(t, gone.URL), 0)
	refused.Add(channel("a"))
	stuck := watch(t, dialler(t, "redis://"+link.Addr), 0)
	connected.awaitAll(Active)
	refused.await("reason", func() bool { return strings.Contains(refused.States()[0].Reason, "refused") })
	for _, w := range []*watched{connected, refused, stuck} {
		w.stop()
	}
	buf := make([]byte, 1<<20)
	for begin := time.Now(); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		left := map[string]bool{}
		for _, g := range strings.Split(stacks, "\n\n") {
			if strings.Contains(g, "scheduler.(*hub)") || strings.Contains(g, "scheduler.(*conn)") || strings.Contains(g, "redis/go-redis") {
				left[g] = true
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Since(begin) > hubPatience {
			t.Fatalf("left running:\n%s", strings.Join(slices.Collect(maps.Keys(left)), "\n\n"))
		}
	}
	subscribers(t, s.Client(), "a", 0)
}

// TestHubOverrun: a server closes a subscriber that does not take what it is sent. The hub connects again, and says what was missed.
func TestHubOverrun(t *testing.T) {
	s := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 1")
	link := redistest.Proxy(t, s.Addr)
	w := watch(t, dialler(t, "redis://"+link.Addr), time.Hour) // so that nothing but the server ends the connection
	w.Add(channel("a"))
	w.awaitAll(Active)
	link.Blackhole()
	payload := strings.Repeat("x", 1<<20)
	c := s.Client()
	overrun := func() bool { return do(t, c, "CLIENT", "LIST", "TYPE", "pubsub") == "" }
	for n := 0; !overrun(); n++ {
		if n == 256 { // MiB: far more than the sockets between them hold
			t.Fatal("the server kept a subscriber that takes nothing")
		}
		do(t, c, "PUBLISH", "a", payload)
	}
	link.Restore()
	w.await("gap", func() bool { return len(w.interruptions()) > 0 })
	w.awaitAll(Active)
	do(t, c, "PUBLISH", "a", "after")
	w.await("message", func() bool { return w.got("m||a|after") })
}
