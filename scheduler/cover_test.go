package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func pattern1(format string, args ...any) tenants.Target {
	return tenants.Target{Kind: tenants.Pattern, Name: fmt.Sprintf(format, args...)}
}

func numPat(t testing.TB, c *redis.Client) int64 {
	t.Helper()
	n, err := c.PubSubNumPat(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitPatterns polls the server for the number of its patterns.
func (w *watched) awaitPatterns(c *redis.Client, what string, cond func(n int64) bool) {
	w.t.Helper()
	w.await(what, func() bool { w.tick(5 * time.Millisecond); return cond(numPat(w.t, c)) })
}

// TestManyPatterns: however many are wanted and however they come and go, the server has few, and each message comes once for each wanted pattern
// that matches it, as if each were subscribed to.
func TestManyPatterns(t *testing.T) {
	for _, protocol := range []int{3, 2} {
		t.Run(fmt.Sprint("RESP ", protocol), func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			w := watchEndpoint(t, Endpoint{Dial: dialler(t, fmt.Sprintf("%s?protocol=%d", s.URL, protocol)), Publish: publisher(c)}, 0)
			r := rand.New(rand.NewPCG(1, uint64(protocol)))
			wanted := map[string]bool{}
			add := func(name string) {
				if !wanted[name] {
					wanted[name] = true
					w.Add(pattern1("%s", name))
				}
			}
			check := func(when string) {
				t.Helper()
				w.awaitAll(Active)
				w.awaitPatterns(c, "few patterns "+when, func(n int64) bool { return n <= maxPatterns })
				for i := range 30 {
					name := fmt.Sprintf("t%d:%s%d", r.IntN(600), []string{"abc", "", "x*", "new"}[i%4], r.IntN(3))
					payload := fmt.Sprint(when, i)
					if err := c.Publish(t.Context(), name, payload).Err(); err != nil {
						t.Fatal(err)
					}
					if err := c.Publish(t.Context(), "end", payload).Err(); err != nil {
						t.Fatal(err)
					}
					w.await("end", func() bool { return w.got("m||end|" + payload) })
					w.mu.Lock()
					for p := range wanted {
						n, want := w.seen["p|"+p+"|"+name+"|"+payload], 0
						if Match(p, name) {
							want = 1
						}
						if n != want {
							t.Errorf("%s: %q came %d times for %q, want %d", when, name, n, p, want)
						}
					}
					w.mu.Unlock()
				}
			}
			w.Add(channel("end"))
			for i := range 20 {
				add(fmt.Sprintf("t%d:*", i))
			}
			check("few")
			if n := numPat(t, c); n != 20 {
				t.Errorf("%d patterns on the server, want the 20 themselves", n)
			}
			for i := range 600 {
				add(fmt.Sprintf("t%d:*", i))
				add(fmt.Sprintf("t%d:a?c*", i))
				add(fmt.Sprintf("t%d:[m-o]*", i))
				add(fmt.Sprintf(`t%d:x\**`, i))
			}
			check("many")
			add("t1*") // may be the name of a cover
			add("t*")
			add("?0:*")
			check("wide")
			if err := w.Renew(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			check("renewed")
			do(t, c, "CLIENT", "KILL", "TYPE", "pubsub")
			w.await("gap", func() bool { return len(w.interruptions()) == 1 })
			check("killed")
			for _, name := range slices.Sorted(func(yield func(string) bool) {
				for name := range wanted {
					if !yield(name) {
						return
					}
				}
			})[10:] {
				delete(wanted, name)
				w.Remove(pattern1("%s", name))
			}
			// One that is left may have the name of a cover, which then stays.
			check("few again")
			if g := w.interruptions(); len(g) != 1 {
				t.Errorf("gaps: %+v", g)
			}
		})
	}
}

// TestPatternsUnderTraffic: a pattern loses nothing and gets nothing twice while it is covered, covered by another, and uncovered again.
func TestPatternsUnderTraffic(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watchEndpoint(t, Endpoint{Dial: dialler(t, s.URL), Publish: publisher(c)}, 0)
	l := newLedger()
	w.note = l.note
	for p := range 4 {
		w.Add(pattern1("c%d.*", p))
	}
	w.awaitAll(Active)
	crowd := publishing(t, s, "c", 4, 4)
	for round := range 5 {
		for i := range 200 {
			w.Add(pattern1("c%d.%d.*", i%(10<<(2*(round%2))), i))
			w.Add(pattern1("other%d*", i))
		}
		w.awaitAll(Active)
		w.awaitPatterns(c, "few patterns", func(n int64) bool { return n <= maxPatterns })
		if round%2 == 1 {
			if err := w.Renew(t.Context(), "test"); err != nil {
				t.Error(err)
			}
		}
		for i := range 200 {
			w.Remove(pattern1("c%d.%d.*", i%(10<<(2*(round%2))), i))
			w.Remove(pattern1("other%d*", i))
		}
		w.awaitPatterns(c, "the patterns themselves", func(n int64) bool { return n == 4 })
	}
	want := map[string]int{}
	for name, n := range crowd.stop() {
		want["p"+name[:2]+".*|"+name] = n
	}
	w.await("the last messages", func() bool { return l.reached(want) })
	if g := w.interruptions(); l.lost != 0 || l.twice != 0 || len(g) != 0 || len(l.last) != len(want) {
		t.Errorf("%d lost, %d twice or out of order of %d, gaps %+v", l.lost, l.twice, l.came, g)
	}
	w.targets.mu.Lock()
	defer w.targets.mu.Unlock()
	if v := w.targets.covering; len(v.covers)+len(v.of) != 0 || w.targets.spreads.Load() {
		t.Errorf("left: %v %v", v.covers, v.of)
	}
	t.Logf("%d messages", l.came)
}

// TestCoverRefused: a user who may have the patterns and not what covers them gets them one by one.
func TestCoverRefused(t *testing.T) {
	rules := []string{"--user", "app", "on", ">pw", "resetchannels", "+psubscribe", "+punsubscribe", "+subscribe", "+ping"}
	for i := range 100 {
		rules = append(rules, fmt.Sprintf("&t%d:*", i))
	}
	s := redistest.Start(t, rules...)
	c := s.Client()
	w := watch(t, dialler(t, s.As("app", "pw")), 0)
	for i := range 100 {
		w.Add(pattern1("t%d:*", i))
	}
	w.Add(pattern1("bad:*"))
	w.await("verdict on each", func() bool { return w.count(Active) == 100 && w.count(Rejected) == 1 })
	w.awaitPatterns(c, "all of them", func(n int64) bool { return n == 100 })
	if n, err := c.Publish(t.Context(), "t42:x", "1").Result(); n != 1 || err != nil {
		t.Errorf("published to %d, %v", n, err)
	}
	w.await("a message", func() bool { return w.got("p|t42:*|t42:x|1") })
}

// TestReservedChannels: nobody subscribes to them, and a pattern that matches them shows nothing of them.
func TestReservedChannels(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watchEndpoint(t, Endpoint{Dial: dialler(t, s.URL), Publish: publisher(c)}, 50*time.Millisecond)
	w.Add(channel("%sx", ControlPrefix))
	w.Add(pattern1("%s*", ControlPrefix))
	w.Add(pattern1("*"))
	w.await("verdict", func() bool { return w.count(Rejected) == 2 && w.count(Active) == 1 })
	for i := range 3 {
		if err := c.Publish(t.Context(), fmt.Sprint(ControlPrefix, "x"), i).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.await("heartbeats", func() bool { w.tick(10 * time.Millisecond); return w.beats.Load() > 2 })
	if err := c.Publish(t.Context(), "end", 1).Err(); err != nil {
		t.Fatal(err)
	}
	w.await("the end", func() bool { return w.got("p|*|end|1") })
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) != 1 {
		t.Errorf("seen: %v", w.seen)
	}
}

// TestClusters puts patterns together by what they begin with.
func TestClusters(t *testing.T) {
	for _, row := range []struct {
		patterns string
		most     int
		want     string // prefix=members, in order
	}{
		{"a:* b:* c:*", 3, ""},
		{"a:1* a:2* b:*", 2, "a:=2"},
		{"a:1* a:2* b:1* b:2*", 2, "a:=2 b:=2"},
		{"a:1* a:2* b:1* b:2*", 1, "=4"},
		{"a* ab* abc* x*", 2, "a=3"},
		{`a\** a\*b* z*`, 2, "a*=2"},
		{"*a *b c* d*", 3, "=2"},
	} {
		var all []*target
		for name := range strings.FieldsSeq(row.patterns) {
			all = append(all, &target{Target: tenants.Target{Kind: tenants.Pattern, Name: name}})
		}
		var got []string
		for prefix, members := range clusters(all, row.most) {
			got = append(got, fmt.Sprintf("%s=%d", prefix, len(members)))
			for _, x := range members {
				if !strings.HasPrefix(literal(x.Name), prefix) {
					t.Errorf("%q does not begin with %q", x.Name, prefix)
				}
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s in %d: %q, want %q", row.patterns, row.most, got, row.want)
		}
	}
}

// TestQuote: the pattern of a text matches it, and no other text of those here.
func TestQuote(t *testing.T) {
	texts := []string{"", "a", `a*`, `a\`, `[a]`, `a?b`, "\x00\xff", `\*`, "a^-]"}
	for _, a := range texts {
		for _, b := range texts {
			if Match(quote(a), b) != (a == b) {
				t.Errorf("quote(%q) = %q against %q", a, quote(a), b)
			}
		}
		if literal(quote(a)) != a {
			t.Errorf("literal(%q) = %q", quote(a), literal(quote(a)))
		}
	}
}

// BenchmarkPublish is what a PUBLISH takes on a server with 10,000 patterns of tenants: each asked for by itself, and as the hub asks for them.
func BenchmarkPublish(b *testing.B) {
	for _, way := range []string{"none", "single", "covered"} {
		b.Run(way, func(b *testing.B) {
			s := redistest.Start(b)
			c := s.Client()
			w := watchEndpoint(b, Endpoint{Dial: dialler(b, s.URL), Publish: publisher(c), OncePerPatterns: way == "single"}, 0)
			w.note = func(frame) {}
			n := 10_000
			if way == "none" {
				n = 1
			}
			for i := range n {
				w.Add(pattern1("tenant%d:orders:*", i))
			}
			w.awaitAll(Active)
			began := serverCPU(b, c)
			b.ResetTimer()
			const batch = 100
			for i := 0; i < b.N; i += batch {
				c.Pipelined(context.Background(), func(p redis.Pipeliner) error {
					for j := range batch {
						p.Publish(context.Background(), fmt.Sprintf("tenant%d:orders:new", (i+j)%10_000), "x")
					}
					return nil
				})
			}
			b.ReportMetric(float64(serverCPU(b, c)-began)/float64(b.N), "server-ns/op")
			b.ReportMetric(float64(numPat(b, c)), "patterns")
		})
	}
}

// serverCPU is what the server has used so far.
func serverCPU(b *testing.B, c *redis.Client) (all time.Duration) {
	for line := range strings.Lines(do(b, c, "INFO", "cpu").(string)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_sys" || name == "used_cpu_user" {
			d, err := time.ParseDuration(value + "s")
			if err != nil {
				b.Fatal(err)
			}
			all += d
		}
	}
	return all
}

// BenchmarkSpread is what the reader does with one message for a cover of 10,000 patterns.
func BenchmarkSpread(b *testing.B) {
	all := newTargets("")
	s := all.begin(all.lanes[0])
	for i := range 10_000 {
		all.add(pattern1("tenant%d:orders:*", i), epoch)
	}
	var name string
	for name = range all.covering.covers {
	}
	f := frame{kind: 'p', pattern: []byte(name), channel: []byte("tenant4242:orders:new")}
	var into [][]byte
	b.ReportAllocs()
	for b.Loop() {
		into, _ = s.expand(&f, into[:0])
	}
}
