package endpoint_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// watching collects what Watch says; it ends with the test.
type watching struct {
	t       *testing.T
	changes chan endpoint.Change
}

func watch(t *testing.T, o *endpoint.Options) *watching {
	w := &watching{t, make(chan endpoint.Change, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { o.Watch(ctx, func(c endpoint.Change) { w.changes <- c }) })
	t.Cleanup(func() { cancel(); wait.Wait() })
	return w
}

// until waits for a change that holds.
func (w *watching) until(what string, holds func(endpoint.Change) bool) {
	w.t.Helper()
	late := time.After(2 * patience)
	for {
		select {
		case c := <-w.changes:
			if holds(c) {
				return
			}
		case <-late:
			w.t.Fatalf("Watch did not say: %s", what)
		}
	}
}

func server(c net.Conn) string { return c.(interface{ Server() string }).Server() }

// TestFailover demotes a master under a subscriber, a client and a watch, then kills the next one.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.SentinelConfig{Password: "pw"})
	o := parse(t, s.URL)
	w := watch(t, o)
	client := o.Client(nil)
	defer client.Close()
	w.until("the first master", func(c endpoint.Change) bool { return c.Master == s.Nodes[0].Addr })

	step := func(what string, change func() (master, former *redistest.Server)) {
		socket, err := o.Subscriber(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		was := s.Master()
		if server(socket) != was.Addr {
			t.Fatalf("subscribed to %s, the master is %s", server(socket), was.Addr)
		}
		if err := client.Set(t.Context(), "k", what, 0).Err(); err != nil {
			t.Fatal(err)
		}
		master, former := change()
		w.until(what, func(c endpoint.Change) bool { return c.Master == master.Addr })
		if _, err := socket.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the socket to %s lives on", what, former.Addr)
		}
		next, err := o.Subscriber(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer next.Close()
		if server(next) != master.Addr {
			t.Errorf("%s: subscribed to %s, the master is %s", what, server(next), master.Addr)
		}
		eventually(t, what+": the client reaches the new master", func() error { return client.Set(t.Context(), "k", what, 0).Err() })
		if got, err := master.Client().Get(t.Context(), "k").Result(); got != what || err != nil {
			t.Errorf("%s: the new master has %q, %v", what, got, err)
		}
	}
	step("demoted", s.Demote)
	step("killed", s.Failover)

	s.Sentinels[0].Kill() // two are left, and one of two would do
	socket, err := o.Subscriber(t.Context())
	if err != nil {
		t.Fatalf("with a Sentinel down: %v", err)
	}
	socket.Close()
}

// eventually waits for what nobody announces.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestDemotedMasterIsRefused has Sentinels name a server that has become a replica behind their back.
func TestDemotedMasterIsRefused(t *testing.T) {
	t.Parallel()
	real, replica := redistest.Start(t), redistest.Start(t)
	host, port, _ := net.SplitHostPort(real.Addr)
	if err := replica.Client().Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	wrong, right := naming(t, replica.Addr), naming(t, real.Addr)
	o := parse(t, "redis+sentinel://"+wrong+"/main")
	if _, err := o.Subscriber(t.Context()); err == nil || !strings.Contains(err.Error(), "it is not a master: its role is slave") || !strings.Contains(err.Error(), replica.Addr) {
		t.Errorf("got %v", err)
	}
	c := o.Client(nil)
	defer c.Close()
	if err := c.Publish(t.Context(), "orders", "x").Err(); err == nil || !strings.Contains(err.Error(), "it is not a master") {
		t.Errorf("the client: %v", err)
	}
	o = parse(t, "redis+sentinel://"+wrong+","+right+"/main")
	socket, err := o.Subscriber(t.Context())
	if err != nil {
		t.Fatalf("another Sentinel knows better: %v", err)
	}
	defer socket.Close()
	if server(socket) != real.Addr {
		t.Errorf("subscribed to %s", server(socket))
	}
}

// naming is a Sentinel whose view of the world is out of date: a peer on the network that names addr for every master.
func naming(t *testing.T, addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return listen(t, func(c net.Conn) {
		b := make([]byte, 4<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			switch command := strings.ToLower(string(b[:n])); {
			case strings.Contains(command, "get-master-addr-by-name"):
				fmt.Fprintf(c, "*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(host), host, len(port), port)
			default:
				fmt.Fprint(c, "-ERR unknown command\r\n")
			}
		}
	})
}

// TestSentinelFails holds what is said when Sentinels are of no help.
func TestSentinelFails(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.SentinelConfig{Password: "pw", SentinelPassword: "s3cret"})
	s.Nodes[0].SetUser("low", "on", ">s3cret", "+ping", "+subscribe", "&*")
	one := s.Sentinels[0].Addr
	gone := redistest.Start(t)
	gone.Kill()
	var lines strings.Builder
	for _, c := range []struct{ name, url string }{
		{"another name", "redis+sentinel://" + one + "/other?sentinel_password=s3cret"},
		{"no password for the Sentinel", "redis+sentinel://" + one + "/main"},
		{"wrong password for the Sentinel", "redis+sentinel://" + one + "/main?sentinel_password=s3cretX"},
		{"wrong password for the master", "redis+sentinel://:s3cretX@" + one + "/main?sentinel_password=s3cret"},
		{"user without +role", "redis+sentinel://low:s3cret@" + one + "/main?sentinel_password=s3cret"},
		{"the master's port for the Sentinel's", "redis+sentinel://" + redistest.Start(t).Addr + "/main"},
		{"no Sentinel there", "redis+sentinel://" + gone.Addr + "/main"},
		{"a Sentinel as a server", "redis+cluster://:s3cret@" + one},
	} {
		o := parse(t, c.url)
		socket, err := o.Subscriber(t.Context())
		if err == nil {
			socket.Close()
			t.Errorf("%s: connected", c.name)
			continue
		}
		fmt.Fprintf(&lines, "# %s\n%s\n", c.name, ports(err.Error(), map[string]string{one: "SENTINEL", s.Nodes[0].Addr: "MASTER", gone.Addr: "GONE"}))
		client := o.Client(nil)
		if err := client.Ping(t.Context()).Err(); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the client: %v", c.name, err)
		}
		client.Close()
	}
	if strings.Contains(lines.String(), "cret") {
		t.Error("a password is told")
	}
	golden(t, "sentinel", lines.String())
}

// ports names the addresses that differ from run to run.
func ports(text string, names map[string]string) string {
	for addr, name := range names {
		text = strings.ReplaceAll(text, addr, name)
	}
	for {
		begin := strings.Index(text, "127.0.0.1:")
		if begin < 0 {
			return text
		}
		end := begin + len("127.0.0.1:")
		for end < len(text) && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		text = text[:begin] + "ADDRESS" + text[end:]
	}
}

// TestBlackHoledSentinel goes on with the others.
func TestBlackHoledSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.SentinelConfig{})
	link := redistest.Proxy(t, s.Sentinels[0].Addr)
	link.Blackhole()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, others, _ := strings.Cut(u.Host, ",")
	o := parse(t, "redis+sentinel://"+link.Addr+","+others+u.Path)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as long as a hub waits
	defer cancel()
	socket, err := o.Subscriber(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := o.Client(nil)
	defer c.Close()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Error(err)
	}
	watch(t, o).until("the master", func(c endpoint.Change) bool { return c.Master == s.Nodes[0].Addr })
}
