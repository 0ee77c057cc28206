package endpoint_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestSlot has the vectors of the cluster specification and those of its own rules about hash tags; a real cluster confirms them.
func TestSlot(t *testing.T) {
	client := redistest.StartCluster(t, redistest.SentinelConfig{}).Nodes[0].Client()
	for name, want := range map[string]int{
		"123456789": 0x31C3, "foo": 12182, "bar": 5061, "hello": 866, "": 0,
		"{user1000}.following": 3443, "{user1000}.followers": 3443, "user1000": 3443,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "{bar": 4015, "foo{bar}{zap}": 5061,
		"}{": -1, "a{b": -1, "\x00\xff{\x80}": -1, strings.Repeat("x", 1000): -1,
	} {
		real, err := client.ClusterKeySlot(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := endpoint.Slot(name); int64(got) != real || want >= 0 && got != want {
			t.Errorf("%.20q: slot %d, the cluster says %d, the specification %d", name, got, real, want)
		}
	}
}

// ssubscribe subscribes to a sharded channel, and fails the test unless that is acknowledged.
func ssubscribe(t *testing.T, socket net.Conn, channel string) {
	t.Helper()
	if _, err := fmt.Fprintf(socket, "*2\r\n$10\r\nSSUBSCRIBE\r\n$%d\r\n%s\r\n", len(channel), channel); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(">3\r\n$10\r\nssubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(channel), channel)
	if got := read(t, socket, len(want)); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// TestSlotMoves moves a slot under a subscriber of its sharded channel, with others beside it that know an older map.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{Password: "pw"})
	o, late := parse(t, k.URL), parse(t, k.URL)
	w := watch(t, o)
	const channel = "orders"
	slot := endpoint.Slot(channel)
	from := k.Owner(slot)
	w.until("the first map", func(c endpoint.Change) bool {
		return c.Slots.Owner(slot) == from.Addr && len(c.Slots.Masters()) == 3
	})
	socket, slots, err := o.ShardSubscriber(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if server(socket) != from.Addr || slots.Owner(slot) != from.Addr {
		t.Fatalf("subscribed to %s; %s serves the slot", server(socket), from.Addr)
	}
	ssubscribe(t, socket, channel)
	if _, err := late.Slots(t.Context()); err != nil { // an older map
		t.Fatal(err)
	}
	client := o.Client(nil)
	defer client.Close()
	if err := client.Set(t.Context(), channel, "v", 0).Err(); err != nil {
		t.Fatal(err)
	}

	to := k.Nodes[0]
	if from == to {
		to = k.Nodes[1]
	}
	k.MoveSlot(slot, to)
	want := fmt.Sprintf(">3\r\n$12\r\nsunsubscribe\r\n$%d\r\n%s\r\n:0\r\n", len(channel), channel)
	if got := read(t, socket, len(want)); got != want {
		t.Errorf("at the move the server pushed %q", got)
	}
	if _, err := io.WriteString(socket, "*2\r\n$10\r\nSSUBSCRIBE\r\n$6\r\norders\r\n"); err != nil {
		t.Fatal(err)
	}
	moved := fmt.Sprintf("-MOVED %d %s\r\n", slot, to.Addr)
	if got := read(t, socket, len(moved)); got != moved {
		t.Errorf("got %q, want %q", got, moved)
	}
	w.until("the slot has moved", func(c endpoint.Change) bool { return c.Slots.Owner(slot) == to.Addr })
	for name, o := range map[string]*endpoint.Options{"the same": o, "one with an older map": late} {
		next, slots, err := o.ShardSubscriber(t.Context(), slot)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer next.Close()
		if server(next) != to.Addr || slots.Owner(slot) != to.Addr {
			t.Errorf("%s: subscribed to %s; %s serves the slot", name, server(next), to.Addr)
		}
		ssubscribe(t, next, channel)
	}
	if got, err := client.Get(t.Context(), channel).Result(); got != "v" || err != nil {
		t.Errorf("the client after the move: %q, %v", got, err)
	}
}

// TestClusterNodeDown has two nodes left: plain channels and their slots work on.
func TestClusterNodeDown(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	o := parse(t, "redis+cluster://"+k.Nodes[0].Addr) // the others are learned
	if _, err := o.Slots(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := k.Owner(0)
	gone.Kill()
	for range 6 { // in a random order
		socket, err := o.Subscriber(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if server(socket) == gone.Addr {
			t.Error("subscribed to a dead node")
		}
		socket.Close()
	}
	if _, _, err := o.ShardSubscriber(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "connect to "+gone.Addr) {
		t.Errorf("a slot of the dead node: %v", err)
	}
	socket, _, err := o.ShardSubscriber(t.Context(), endpoint.SlotCount-1)
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	for _, slot := range []int{-1, endpoint.SlotCount} {
		if _, _, err := o.ShardSubscriber(t.Context(), slot); err == nil {
			t.Errorf("slot %d was served", slot)
		}
	}
}

// TestClusterFails holds what is said when a cluster is none, or refuses.
func TestClusterFails(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{Password: "s3cret"})
	for _, n := range k.Nodes {
		n.SetUser("low", "on", ">s3cret", "+ping", "+subscribe", "&*")
	}
	node, alone, gone := k.Nodes[0].Addr, redistest.Start(t), redistest.Start(t)
	gone.Kill()
	bus := redistest.Start(t)
	bus.Kill() // its port is free
	empty := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", strings.Split(bus.Addr, ":")[1])
	var lines strings.Builder
	for _, c := range []struct {
		name, url string
		sharded   bool
	}{
		{"a single server", "redis+cluster://" + alone.Addr, false},
		{"no password", "redis+cluster://" + node, false},
		{"wrong password", "redis+cluster://:s3cretX@" + node, false},
		{"nobody there", "redis+cluster://" + gone.Addr, false},
		{"user without +cluster|slots", "redis+cluster://low:s3cret@" + node, true},
		{"slots of a single server", "redis://" + alone.Addr, true},
		{"slots that nobody serves", "redis+cluster://" + empty.Addr, true},
	} {
		o := parse(t, c.url)
		var err error
		if c.sharded {
			_, _, err = o.ShardSubscriber(t.Context(), 7)
		} else {
			_, err = o.Subscriber(t.Context())
		}
		if err == nil {
			t.Errorf("%s: connected", c.name)
			continue
		}
		fmt.Fprintf(&lines, "# %s\n%s\n", c.name, ports(err.Error(), map[string]string{node: "NODE", alone.Addr: "ALONE", gone.Addr: "GONE", empty.Addr: "EMPTY"}))
		client := o.Client(nil)
		if err := client.Get(t.Context(), "k").Err(); err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the client: %v", c.name, err)
		}
		client.Close()
	}
	if strings.Contains(lines.String(), "cret") {
		t.Error("a password is told")
	}
	golden(t, "cluster", lines.String())
}

// TestClusterClientSendsOnce loses the reply to an INCR and finds it executed once.
func TestClusterClientSendsOnce(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	slot := endpoint.Slot("n")
	owner := k.Owner(slot)
	deaf := deafTo(t, owner.Addr, "incr")
	c := parse(t, k.URL).Client(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == owner.Addr {
			addr = deaf
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	})
	defer c.Close()
	if err := c.Set(t.Context(), "n", 0, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Incr(t.Context(), "n").Err(); err == nil || !strings.Contains(err.Error(), "the connection failed") {
		t.Fatalf("the reply was to be lost: %v", err)
	}
	if got, err := owner.Client().Get(t.Context(), "n").Int(); err != nil || got != 1 {
		t.Errorf("n is %d, %v; want 1", got, err)
	}
}

// TestClientFollowsClusterFailover: when a master dies, commands on its slots go to the replica that took its place, although nobody says MOVED.
func TestClientFollowsClusterFailover(t *testing.T) {
	t.Parallel()
	k := redistest.StartClusterWithReplicas(t, redistest.SentinelConfig{Password: "pw"})
	o, err := endpoint.Parse(k.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Client(nil)
	defer c.Close()
	slot := endpoint.Slot("foo")
	if err := c.Set(t.Context(), "foo", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	master := k.Owner(slot)
	master.Kill()
	k.Served(slot, k.Twin(master))
	tick, late := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for err = c.Set(t.Context(), "foo", "w", 0).Err(); err != nil; err = c.Set(t.Context(), "foo", "w", 0).Err() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
}
