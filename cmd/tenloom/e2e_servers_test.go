package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// Behind Sentinels the program follows the master: one that is demoted, and one that dies. What is published afterwards is handled, and the
// gap is announced.
func TestUpFollowsSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.SentinelConfig{Password: "hush", SentinelPassword: "whisper"})
	r := stage{s.Nodes[0], []string{"--redis", s.URL}}.up(t, writeApp(t, ordersV2), "-q")
	expect(t, "deliveries", len(r.post(t, "orders", []byte("before")).Deliveries), 3)
	for what, change := range map[string]func() (master, former *redistest.Server){"demoted": s.Demote, "killed": s.Failover} {
		gaps := r.usage(t).Counts.Gaps
		master, former := change()
		eventually(t, what+": subscribed to the new master", func() bool {
			counts, err := master.Client().PubSubNumSub(t.Context(), "orders").Result()
			return err == nil && counts["orders"] > 0 && r.ready()
		})
		if err := master.Client().Publish(t.Context(), "orders", what).Err(); err != nil {
			t.Fatal(err)
		}
		expect(t, what+": deliveries", len(r.post(t, "orders", []byte("after")).Deliveries), 3)
		if what == "killed" {
			eventually(t, "a gap is counted", func() bool { return r.usage(t).Counts.Gaps > gaps })
			r.awaitLog(t, "subscriptions were interrupted")
		}
		r.awaitLog(t, "master="+master.Addr+" former="+former.Addr)
	}
	expect(t, "exit code", r.stop(t), exitOK)
	if text := r.stdout.String() + r.stderr.String(); strings.Contains(text, "hush") || strings.Contains(text, "whisper") {
		t.Errorf("a password is in the output:\n%s", text)
	}
}

// On a cluster plain channels are heard from whatever node, keys are where their slots are, and a node that dies costs nothing but a gap.
func TestUpOnCluster(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	r := stage{k.Nodes[0], []string{"--redis", k.URL}}.up(t, writeApp(t, ordersV2))
	expect(t, "address shown", strings.HasPrefix(r.redis, "redis+cluster://"+k.Nodes[0].Addr), true)
	for i, n := range k.Nodes {
		payload := fmt.Sprintf("from node %d", i)
		eventually(t, "what is published on any node is received", func() bool {
			// Again and again: on a busy machine nodes lose their links to each other for a moment, and then no message is passed on.
			if err := n.Client().Publish(t.Context(), "orders", payload).Err(); err != nil {
				t.Fatal(err)
			}
			_, runs := r.ask(t, "/v1/tenants/demo/invocations")
			return strings.Count(string(runs), payload) >= 3
		})
	}
	var held *redistest.Server
	for _, n := range k.Nodes {
		counts, err := n.Client().PubSubNumSub(t.Context(), "orders").Result()
		if err != nil {
			t.Fatal(err)
		}
		if counts["orders"] > 0 {
			held = n
		}
	}
	held.Kill()
	eventually(t, "the loss is noticed", func() bool { return r.usage(t).Counts.Gaps > 0 && r.ready() })
	eventually(t, "messages are handled again", func() bool {
		done := tenloom(t, t.TempDir(), "publish", "--server", r.api, "--json", "--wait", "60s", "orders", "x")
		return done.code == exitOK && strings.Count(done.stdout, `"handled"`) >= 3
	})
	expect(t, "exit code", r.stop(t), exitOK)
}

// A server that wants a certificate gets the one of the flags; without them, and with flags that do not fit, the program says what is missing.
func TestUpShowsCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := redistest.NewCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Client("app", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/app.pem", cert)
	writeFile(t, dir+"/app.key", key)
	server := redistest.StartMutual(t, ca, "--requirepass", "hush")
	files := []string{"--redis-ca", ca.File, "--redis-cert", dir + "/app.pem", "--redis-key", dir + "/app.key"}
	app := writeApp(t, ordersV2)
	r := stage{server, append([]string{"--redis", server.URL}, files...)}.up(t, app)
	expect(t, "deliveries", len(r.post(t, "orders", []byte("x")).Deliveries), 3)
	expect(t, "exit code", r.stop(t), exitOK)
	for _, row := range []struct {
		want string
		args []string
	}{
		{"write rediss in the place of redis", append([]string{"--redis", "redis://" + server.Addr}, files...)},
		{"certificate and its key come together", []string{"--redis", server.URL, "--redis-cert", dir + "/app.pem"}},
		{"read authority: open", []string{"--redis", server.URL, "--redis-ca", dir + "/none.pem"}},
		{"no certificate in PEM form", []string{"--redis", server.URL, "--redis-ca", app + "/spin.toml"}},
		{"are for a Redis of yours", files},
		{"does not say what they are", []string{"--redis", "redis://a,b"}},
		{"which master", []string{"--redis", "redis+sentinel://a"}},
	} {
		done := tenloom(t, app, append([]string{"up", "--listen", "127.0.0.1:0"}, row.args...)...)
		if done.code != exitUsage || !strings.Contains(done.stderr, row.want) || strings.Contains(done.stderr, "hush") {
			t.Errorf("%q: exit %d, %s; want %q", row.args, done.code, done.stderr, row.want)
		}
	}
}

// Addresses that up stands for, whatever form its own Redis has.
func TestResolve(t *testing.T) {
	main, err := endpoint.Parse("redis+sentinel://:hush@127.0.0.1:26379,s2/main")
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := endpoint.Parse("redis+cluster://127.0.0.1:6379,127.0.0.1:6380")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		main          *endpoint.Options
		address, want string
	}{
		{main, "redis://localhost:6379", "redis+sentinel://***@127.0.0.1:26379,s2:26379/main"},
		{main, "redis://127.0.0.1", "redis+sentinel://***@127.0.0.1:26379,s2:26379/main"},
		{main, "redis://[::1]:6379/3", "redis+sentinel://***@127.0.0.1:26379,s2:26379/main/3"},
		{main, "redis://Cache.example.com", "redis+sentinel://***@127.0.0.1:26379,s2:26379/main"},
		{main, "redis+sentinel://a,B/other", "redis+sentinel://***@127.0.0.1:26379,s2:26379/main"},
		{main, "redis+sentinel://a,b/another", "redis+sentinel://a:26379,b:26379/another"},
		{main, "redis://localhost:6380", "redis://localhost:6380"},
		{main, "rediss://localhost:6379", "rediss://localhost:6379"},
		{main, "redis+cluster://localhost:6379", "redis+cluster://localhost:6379"},
		{main, "redis://cache.example.com:6380", "redis://cache.example.com:6380"},
		{cluster, "redis://localhost", "redis+cluster://127.0.0.1:6379,127.0.0.1:6380"},
		{cluster, "redis://localhost/3", `redis address "redis://localhost:6379/3" stands for redis+cluster://127.0.0.1:6379,127.0.0.1:6380: DB: a cluster has database 0 alone; leave the number out`},
	} {
		s := &servers{main: c.main, replaced: map[string]bool{}}
		for _, stood := range []string{"redis://cache.example.com/1", "redis+sentinel://A,b/other"} {
			if err := s.stand(stood); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := s.resolve(c.address)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		expect(t, c.address, text, c.want)
	}
}

const shardedApp = `spin_manifest_version = 2
[application]
name = "orders"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "orders"
component = "first"
[component.first]
source = "echo-a.wasm"
[component.first.tool.tenloom]
sharded = "paid"
`

// A sharded channel is heard where its slot is served, and followed when the slot moves. The embedded Redis has none, and says so.
func TestUpSharded(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	r := stage{k.Nodes[0], []string{"--redis", k.URL}}.up(t, writeApp(t, shardedApp))
	slot := endpoint.Slot("paid")
	for i := range 2 {
		owner := k.Owner(slot)
		before := r.usage(t).Counts.Received
		if err := owner.Client().SPublish(t.Context(), "paid", i).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what is published in the shard is received", func() bool { return r.usage(t).Counts.Received == before+1 })
		answer, said := r.publish(t, "paid", "by the command", "--sharded")
		if answer.Matched != 1 || len(answer.Deliveries) != 1 || answer.Deliveries[0].Outcome != "handled" {
			t.Errorf("publish --sharded: exit %d, %+v\n%s", said.code, answer, said.stderr)
		}
		if answer, _ := r.publish(t, "paid", "to the channel of the same name"); answer.Matched != 0 {
			t.Errorf("a channel woke what listens to a sharded one: %+v", answer)
		}
		gaps := r.usage(t).Counts.Gaps
		k.MoveSlot(slot, k.Nodes[(slices.Index(k.Nodes, owner)+1)%len(k.Nodes)])
		eventually(t, "the move is counted as a gap", func() bool { return r.usage(t).Counts.Gaps == gaps+1 && r.ready() })
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	sub := startProcess(t, t.TempDir(), nil, path, "subscribe", "--server", r.api, "--sharded", "paid", "free", "--count", "2")
	sub.awaitLog(t, "Listening.")
	r.publish(t, "paid", "one", "--sharded")
	r.publish(t, "free", "two", "--sharded")
	expect(t, "exit code of subscribe --sharded", sub.wait(t), exitOK)
	if seen := sub.stdout.String(); !strings.Contains(seen, "paid\tone") || !strings.Contains(seen, "free\ttwo") {
		t.Errorf("subscribe --sharded printed %q", seen)
	}
	expect(t, "exit code", r.stop(t), exitOK)
}

// The embedded Redis has no sharded channels, and whoever asks for one is told.
func TestUpShardedEmbedded(t *testing.T) {
	t.Parallel()
	r := stage{}.up(t, writeApp(t, ordersV2))
	for _, command := range [][]string{{"publish", "orders", "x"}, {"subscribe", "orders"}} {
		done := tenloom(t, t.TempDir(), append(command, "--sharded", "--server", r.api)...)
		if done.code == exitOK || !strings.Contains(done.stderr, "the embedded Redis has no sharded channels") {
			t.Errorf("%s --sharded: exit %d\n%s", command[0], done.code, done.stderr)
		}
	}
	expect(t, "exit code", r.stop(t), exitOK)

	dir := writeApp(t, shardedApp)
	done := tenloom(t, dir, "up", "--listen", "127.0.0.1:0")
	want := "component.first.tool.tenloom.sharded: the embedded Redis has no sharded channels; use a channel or a pattern, or give a Redis 7 or a cluster with --redis URL"
	if done.code != exitDeploy || !strings.Contains(done.stderr, want) {
		t.Errorf("on the embedded Redis: exit %d\n%s", done.code, done.stderr)
	}
}
