package scheduler

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	redisendpoint "github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func sharded(name string) tenants.Target {
	return tenants.Target{Kind: tenants.Sharded, Name: name}
}

// onCluster is a cluster as a hub is given it.
func onCluster(t testing.TB, url string) Endpoint {
	t.Helper()
	o, err := redisendpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return Endpoint{
		Dial: o.Subscriber, Unordered: true, Slot: redisendpoint.Slot,
		DialShard: func(ctx context.Context, slot int) (net.Conn, func(int) string, error) {
			socket, slots, err := o.ShardSubscriber(ctx, slot)
			return socket, slots.Owner, err
		},
	}
}

func spublisher(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	o, err := redisendpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Client(nil)
	t.Cleanup(func() { c.Close() })
	return c
}

func spublish(t testing.TB, c redis.UniversalClient, channel, payload string) {
	t.Helper()
	if err := c.SPublish(context.Background(), channel, payload).Err(); err != nil {
		t.Fatal(err)
	}
}

// saw is how often a message came.
func (w *watched) saw(kind byte, channel, payload string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[fmt.Sprintf("%c||%s|%s", kind, channel, payload)]
}

// listening counts a server's connections that hold sharded channels.
func listening(t testing.TB, s *redistest.Server) int {
	t.Helper()
	list, err := s.Client().ClientList(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(list, "ssub=") - strings.Count(list, "ssub=0 ")
}

// another is a node that does not serve a slot.
func another(k *redistest.Cluster, than *redistest.Server) *redistest.Server {
	return k.Nodes[slices.IndexFunc(k.Nodes, func(n *redistest.Server) bool { return n != than })]
}

// TestShards: each message on a sharded channel comes once, whatever shard it is in, and the kinds of channels are kept apart.
func TestShards(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{Password: "pw"})
	w := watchEndpoint(t, onCluster(t, k.URL), 0)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("c%d", i), fmt.Sprintf("{tag}%d", i))
	}
	for _, name := range names {
		w.Add(sharded(name))
	}
	w.Add(tenants.Target{Name: "c0"})
	w.awaitAll(Active)
	for _, n := range k.Nodes {
		if got := listening(t, n); got != 1 {
			t.Errorf("%d connections to %s", got, n.Addr)
		}
	}
	c := spublisher(t, k.URL)
	for _, name := range names {
		spublish(t, c, name, "x")
	}
	if err := c.Publish(t.Context(), "c0", "plain").Err(); err != nil {
		t.Fatal(err)
	}
	w.await("all messages", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.seen) >= len(names)+1 })
	for _, name := range names {
		if n := w.saw('s', name, "x"); n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
	if w.saw('m', "c0", "plain") != 1 || w.saw('m', "c0", "x")+w.saw('s', "c0", "plain") != 0 {
		t.Error("the kinds are mixed")
	}
	if got := len(w.interruptions()); got != 0 {
		t.Errorf("%d gaps", got)
	}
	for _, name := range names {
		w.Remove(sharded(name))
	}
	for _, n := range k.Nodes {
		w.await("the end of the shards' connections", func() bool { w.poke(); return listening(t, n) == 0 })
	}
}

// poke has await look again without any news.
func (w *watched) poke() { poke(w.moved) }

// TestShardMoves moves a slot to and fro under traffic. What is lost lies in an announced gap of that slot alone, and nothing comes twice.
func TestShardMoves(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	w := watchEndpoint(t, onCluster(t, k.URL), 0)
	slot := redisendpoint.Slot("{o}")
	from := k.Owner(slot)
	to := another(k, from)
	moving := []string{"{o}1", "{o}2", "{o}3"}
	var staying string // on the same connection
	for i := 0; staying == ""; i++ {
		if name := fmt.Sprint("stay", i); k.Owner(redisendpoint.Slot(name)) == from {
			staying = name
		}
	}
	names := append(slices.Clone(moving), staying)
	for _, name := range names {
		w.Add(sharded(name))
	}
	w.awaitAll(Active)
	before, _ := w.State(sharded(staying))

	traffic := sharding(t, k.URL, names)
	for i, node := range []*redistest.Server{to, from, to} {
		k.MoveSlot(slot, node)
		w.await("gap", func() bool { return len(w.interruptions()) == i+1 })
		w.awaitAll(Active)
	}
	traffic.end(w)
	if traffic.failed != nil {
		t.Fatal(traffic.failed)
	}
	gaps := w.interruptions()
	for _, g := range gaps {
		if g.Targets != len(moving) || !strings.Contains(g.Cause, "hash slot") {
			t.Errorf("gap %+v", g)
		}
	}
	lost := traffic.missing(w, []string{staying})
	if after, _ := w.State(sharded(staying)); after != before {
		t.Errorf("the channel that stayed: %+v, then %+v", before, after)
	}
	for _, g := range gaps {
		t.Logf("gap of %v", g.Until.Sub(g.Since))
	}
	t.Logf("%d messages, %d in announced gaps", len(traffic.all), lost)
}

// TestReshard: what somebody says about the cluster is only a reason to ask.
func TestReshard(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	e := onCluster(t, k.URL)
	asked := make(chan int, 100)
	dial := e.DialShard
	e.DialShard = func(ctx context.Context, slot int) (net.Conn, func(int) string, error) {
		asked <- slot
		return dial(ctx, slot)
	}
	w := watchEndpoint(t, e, 0)
	w.Add(sharded("orders"))
	w.awaitAll(Active)
	<-asked
	before, _ := w.State(sharded("orders"))
	slot := redisendpoint.Slot("orders")
	w.shards.doubt(func(int) string { return another(k, k.Owner(slot)).Addr })
	if got := <-asked; got != slot {
		t.Fatalf("asked for %d", got)
	}
	settled := func() bool {
		w.poke()
		w.shards.mu.Lock()
		defer w.shards.mu.Unlock()
		return !w.shards.slots[slot].question
	}
	w.await("answer", settled)
	if after, _ := w.State(sharded("orders")); after != before || len(w.interruptions()) != 0 {
		t.Errorf("%+v, then %+v; gaps %v", before, after, w.interruptions())
	}
	spublish(t, spublisher(t, k.URL), "orders", "x")
	w.await("message", func() bool { return w.saw('s', "orders", "x") == 1 })
}

// TestShardRefused: a channel that a user may not have costs nobody else a subscription, not even in the same slot.
func TestShardRefused(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	for _, n := range k.Nodes {
		n.SetUser("u", "on", ">pw", "+ping", "+hello", "+client", "+cluster|slots", "+cluster|info", "+ssubscribe", "+sunsubscribe", "resetchannels", "&{o}ok*")
	}
	w := watchEndpoint(t, onCluster(t, strings.Replace(k.URL, "redis+cluster://", "redis+cluster://u:pw@", 1)), 0)
	for i := range 20 {
		w.Add(sharded(fmt.Sprint("{o}ok", i)))
	}
	w.Add(sharded("{o}secret"))
	w.Add(sharded("elsewhere"))
	w.await("refusals", func() bool { return w.count(Rejected) == 2 && w.count(Active) == 20 })
	for _, s := range w.States() {
		if allowed := strings.HasPrefix(s.Name, "{o}ok"); allowed != (s.State == Active) || !allowed && !strings.HasPrefix(s.Reason, "NOPERM") {
			t.Errorf("%+v", s)
		}
	}
	// A permission that is removed ends the connection; the others are back at once.
	for _, n := range k.Nodes {
		n.SetUser("u", "resetchannels", "&{o}ok*7", "&{o}ok1*")
	}
	w.await("the others", func() bool { return w.count(Active) == 12 && w.count(Rejected) == 10 })
}

// TestShardKilled has a master die: its channels alone wait for it, with the reason.
func TestShardKilled(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	w := watchEndpoint(t, onCluster(t, k.URL), 0)
	gone := k.Owner(redisendpoint.Slot("c0"))
	lost := 0
	for i := range 30 {
		name := fmt.Sprint("c", i)
		if w.Add(sharded(name)); k.Owner(redisendpoint.Slot(name)) == gone {
			lost++
		}
	}
	w.awaitAll(Active)
	gone.Kill()
	w.await("loss", func() bool {
		s, _ := w.State(sharded("c0"))
		return w.count(Reconnecting) == lost && w.count(Active) == 30-lost && strings.Contains(s.Reason, "connect to "+gone.Addr)
	})
	w.Add(sharded("c0{late}")) // another slot may wait for the same master or not
	gone.Restart()
	w.awaitAll(Active)
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	if g := w.interruptions()[0]; g.Targets != lost {
		t.Errorf("%+v, %d were lost", g, lost)
	}
	spublish(t, spublisher(t, k.URL), "c0", "x")
	w.await("message", func() bool { return w.saw('s', "c0", "x") == 1 })
}

// TestShardChurn adds, removes and renews while slots move.
func TestShardChurn(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	w := watchEndpoint(t, onCluster(t, k.URL), 0)
	var hammers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		hammers.Go(func() { // ends with stop
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				target := sharded(fmt.Sprintf("{%d}%d", n%7, n%3))
				w.Add(target)
				w.State(target)
				w.States()
				w.Remove(target)
			}
		})
	}
	for i := range 7 {
		w.Add(sharded(fmt.Sprintf("{%d}0", i)))
	}
	for i := range 6 {
		slot := redisendpoint.Slot(fmt.Sprintf("{%d}", i%3))
		k.MoveSlot(slot, another(k, k.Owner(slot)))
		if err := w.Renew(t.Context(), "test"); err != nil {
			t.Log(err) // a connection may be lost meanwhile
		}
	}
	close(stop)
	hammers.Wait()
	w.awaitAll(Active)
	c := spublisher(t, k.URL)
	for i := range 7 {
		name := fmt.Sprintf("{%d}0", i)
		spublish(t, c, name, "x")
		w.await("message on "+name, func() bool { return w.saw('s', name, "x") > 0 })
		if n := w.saw('s', name, "x"); n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
		w.Remove(sharded(name))
	}
	w.await("the end of all shards", func() bool {
		w.poke()
		w.shards.mu.Lock()
		defer w.shards.mu.Unlock()
		return len(w.shards.all)+len(w.shards.slots) == 0
	})
	w.stop()
	w.Add(sharded("late"))
	if s, ok := w.State(sharded("late")); !ok || s.State != Closed {
		t.Errorf("after the end: %+v", s)
	}
}

// TestShardedAlone: a single server has sharded channels as well, beside the others on the same connection.
func TestShardedAlone(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client()
	w := watchEndpoint(t, Endpoint{Dial: dialler(t, s.URL), Publish: publisher(c)}, 0)
	for i := range 1000 {
		w.Add(sharded(fmt.Sprint("c", i)))
	}
	w.Add(tenants.Target{Name: "c0"})
	w.awaitAll(Active)
	if err := w.Renew(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if n := listening(t, s); n != 1 {
		t.Errorf("%d connections", n)
	}
	spublish(t, c, "c0", "x")
	if err := c.Publish(t.Context(), "c0", "plain").Err(); err != nil {
		t.Fatal(err)
	}
	w.await("messages", func() bool { return w.saw('s', "c0", "x") == 1 && w.saw('m', "c0", "plain") == 1 })
	for i := range 1000 {
		w.Remove(sharded(fmt.Sprint("c", i)))
	}
	w.await("the end of the subscriptions", func() bool { w.poke(); return listening(t, s) == 0 })
	if len(w.interruptions()) != 0 || w.count(Active) != 1 {
		t.Errorf("gaps %v, states %v", w.interruptions(), w.States())
	}
}
