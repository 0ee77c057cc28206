package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// host is a "tenloom serve" in a process of its own with one tenant, acme, whose policy lets it ask as fast as it can.
type host struct {
	*served
	b     *testing.B
	redis *redistest.Server
	token string
}

func startHost(b *testing.B, r *redistest.Server, state string) *host {
	h := &host{served: startServe(b, state, nil, "--redis", r.URL), b: b, redis: r}
	h.token = h.served.token(b)
	return h
}

func newHost(b *testing.B) *host {
	h := startHost(b, redistest.Start(b), filepath.Join(b.TempDir(), "state"))
	h.call("POST", "/v1/tenants", `{"name":"acme"}`)
	_, policy := h.served.ask(b, "GET", "/v1/tenants/acme/policy", h.token, "")
	grants := policy["grants"].(map[string]any)
	grants["requests_per_second"], grants["deploys_per_minute"] = 1_000_000, 10_000
	policy["queue_count"], policy["queue_bytes"] = 1_000_000, 1<<30
	text, err := json.Marshal(policy)
	if err != nil {
		b.Fatal(err)
	}
	h.call("PUT", "/v1/tenants/acme/policy", string(text), "If-Match", "*")
	return h
}

// call wants an answer, as the operator.
func (h *host) call(method, path string, body string, header ...string) []byte {
	answer, err := h.try(method, path, []byte(body), header...)
	if err != nil {
		h.b.Fatal(err)
	}
	return answer
}

// client keeps as many connections as a load of requests wants.
var hostClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (h *host) try(method, path string, body []byte, header ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.api+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := hostClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	return answer, err
}

// deploy takes an application from nothing to live: its app, its module, a version, a deployment.
func (h *host) deploy(app, manifest string, components map[string][]byte) error {
	at := "/v1/tenants/acme/apps/" + app
	if _, err := h.try("PUT", at, nil); err != nil {
		return err
	}
	digests := map[string]string{}
	for id, wasm := range components {
		digests[id] = fmt.Sprintf("sha256:%x", sha256.Sum256(wasm))
		if _, err := h.try("PUT", at+"/blobs/"+digests[id], wasm, "Content-Type", "application/octet-stream"); err != nil {
			return err
		}
	}
	in, err := json.Marshal(map[string]any{"manifest": manifest, "components": digests})
	if err != nil {
		return err
	}
	made, err := h.try("POST", at+"/versions", in, "Prefer", "wait=60")
	if err != nil {
		return err
	}
	var v struct{ Version struct{ ID, State string } }
	if err := json.Unmarshal(made, &v); err != nil || v.Version.State != "ready" {
		return fmt.Errorf("the version is %s: %v", made, err)
	}
	live, err := h.try("POST", at+"/deployments", fmt.Appendf(nil, `{"version":%q}`, v.Version.ID), "Prefer", "wait=60")
	if err == nil && !bytes.Contains(live, []byte(`"state":"live"`)) {
		err = fmt.Errorf("the deployment is %s", live)
	}
	return err
}

func (h *host) deploys(app, manifest string, components map[string][]byte) time.Duration {
	began := time.Now()
	if err := h.deploy(app, manifest, components); err != nil {
		h.b.Fatal(err)
	}
	return time.Since(began)
}

// one is a manifest of one component on one channel.
func one(app, channel, more string) string {
	return fmt.Sprintf("spin_manifest_version = 2\n[application]\nname = %q\n[[trigger.redis]]\nchannel = %q\ncomponent = \"c\"\n[component.c]\nsource = \"c.wasm\"\n%s", app, channel, more)
}

// deploy2MB is the time from an upload of an application of 2 MB to its first message's turn, in seconds, where the module was compiled before.
func deploy2MB(b *testing.B) float64 {
	h := newHost(b)
	wasm := sdkGuest(b)
	cold := h.deploys("cold", one("cold", "c", ""), map[string][]byte{"c": wasm})
	n := 0
	warm := median(b, 5, func() float64 {
		n++
		name := fmt.Sprintf("app%d", n)
		return h.deploys(name, one(name, "c", ""), map[string][]byte{"c": wasm}).Seconds()
	})
	b.Logf("%.2f MB; the first deploy, which compiles it: %v", float64(len(wasm))/1e6, cold)
	return warm
}

const thousand = 1000

// aThousand is the time that deploying 1,000 applications of one module takes, four at a time, and that of a restart until all of them are
// back, in seconds. It is measured once for both promises.
func aThousand(part int) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		thousandOnce.Do(func() { thousandTook = deployThousand(b) })
		return thousandTook[part]
	}
}

var (
	thousandOnce sync.Once
	thousandTook [2]float64
)

func deployThousand(b *testing.B) (took [2]float64) {
	h := newHost(b)
	wasm := readGuest(b, "sum")
	began := time.Now()
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 4 {
		workers.Go(func() {
			for i := next.Add(1); i <= thousand; i = next.Add(1) {
				name := fmt.Sprintf("app%d", i)
				if err := h.deploy(name, one(name, name, ""), map[string][]byte{"c": wasm}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	took[0] = time.Since(began).Seconds()
	if b.Failed() {
		b.FailNow()
	}
	h.stop(b)
	began = time.Now()
	again := startHost(b, h.redis, h.state)
	again.await(b, fmt.Sprintf("with %d applications", thousand))
	took[1] = time.Since(began).Seconds()
	return took
}

// switching is what became of messages at 5,000 a second while an application's versions took turns: how many were lost, how many were handled
// more than once or by both versions, and what the 99th percentile from publishing to the handler's answer rose by, in ms. The handler sends
// what it gets to a channel of its version's.
func switching(part int) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		switchOnce.Do(func() { switchCame = switchUnderLoad(b) })
		return switchCame[part]
	}
}

var (
	switchOnce sync.Once
	switchCame [3]float64
)

const (
	perSecond = 5000
	switches  = 5
	steady    = 2 * time.Second // before each switch, and looked at alone
)

func switchUnderLoad(b *testing.B) (came [3]float64) {
	h := newHost(b)
	echo := map[string][]byte{"c": readFile(b, filepath.Join("..", "..", "examples", "c-echo", "echo.wasm"))}
	version := func(n int) string {
		return one("echo", "in", "allowed_outbound_hosts = [\"redis://localhost:6379\"]\n[component.c.variables]\nredis_address = \"redis://localhost:6379\"\n"+
			fmt.Sprintf("to = \"out.%d\"\n", n))
	}
	h.deploys("echo", version(0), echo)
	l := h.listen("acme:out.*")
	h.publishAll(l, "acme:in", perSecond)
	var added []float64
	for n := range switches {
		time.Sleep(steady)
		from := l.sent.Load()
		h.deploys("echo", version(n+1), echo)
		to := l.sent.Load()
		time.Sleep(steady)
		before, during := l.tail(from-int64(steady.Seconds()*perSecond/2), from), l.tail(from, to+perSecond/10)
		b.Logf("switch %d: p99 %.2f ms before, %.2f ms over %d messages in it", n+1, before, during, to-from)
		added = append(added, during-before)
	}
	sent := l.end(b)
	for i := range sent {
		switch n := l.came[i].Load(); {
		case n == 0:
			came[0]++
		case n > 1:
			came[1]++
		}
	}
	slices.Sort(added)
	came[2] = added[len(added)/2]
	b.Logf("%d messages over %d switches, added p99 %v ms", sent, switches, added)
	return came
}

// ledger is who has heard of which numbered message, and how late.
type ledger struct {
	sent  atomic.Int64
	came  []atomic.Int32 // answers, by number
	late  []atomic.Int64 // of the first, in ns
	total atomic.Int64   // answers
	end   func(b *testing.B) int64
}

const mostNumbered = 1 << 20

// listen counts the answers on channels.
func (h *host) listen(pattern string) *ledger {
	l := &ledger{came: make([]atomic.Int32, mostNumbered), late: make([]atomic.Int64, mostNumbered)}
	p := h.redis.Client().PSubscribe(background, pattern)
	if _, err := p.Receive(background); err != nil {
		h.b.Fatal(err)
	}
	h.b.Cleanup(func() { p.Close() })
	go func() { // ends with p
		for m := range p.Channel(redis.WithChannelSize(1 << 16)) {
			now := time.Now().UnixNano()
			n := binary.BigEndian.Uint64([]byte(m.Payload))
			if l.came[n].Add(1) == 1 {
				l.late[n].Store(now - int64(binary.BigEndian.Uint64([]byte(m.Payload[8:]))))
			}
			l.total.Add(1)
		}
	}()
	return l
}

// publishAll sends numbered messages at a rate until the ledger is ended, which waits for the answers.
func (h *host) publishAll(l *ledger, channel string, rate int) {
	ctx, stop := context.WithCancel(background)
	ended := make(chan error, 1)
	client := h.redis.Client()
	go func() { // ends with ctx
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				ended <- nil
				return
			}
			due := min(int64(time.Since(began).Seconds()*float64(rate)), mostNumbered)
			_, err := client.Pipelined(background, func(p redis.Pipeliner) error {
				for n := l.sent.Load(); n < due; n++ {
					b := binary.BigEndian.AppendUint64(nil, uint64(n))
					p.Publish(background, channel, binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano())))
				}
				return nil
			})
			if err != nil {
				ended <- err
				return
			}
			l.sent.Store(due)
		}
	}()
	l.end = func(b *testing.B) int64 {
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		for last, since := int64(-1), time.Now(); l.total.Load() < l.sent.Load(); time.Sleep(10 * time.Millisecond) {
			if now := l.total.Load(); now != last {
				last, since = now, time.Now()
			} else if time.Since(since) > 10*time.Second { // what has not come by now is lost
				break
			}
		}
		return l.sent.Load()
	}
}

// tail is the 99th percentile of the delays of messages from one number to another, in ms. What never came is left out: it is counted as lost.
func (l *ledger) tail(from, to int64) float64 {
	var all []int64
	for i := max(from, 0); i < min(to, l.sent.Load()); i++ {
		if l.came[i].Load() > 0 {
			all = append(all, l.late[i].Load())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[len(all)*99/100]) / 1e6
}

// apiTail is the 99th percentile of the time that 200 requests a second take, an owner's reads and writes of all kinds, in ms, while messages flow
// at half of the rate that the same publisher, Redis and handler reach on this machine just before. Requests begin when they are due, whether others have ended
// or not.
func apiTail(b *testing.B) float64 {
	h := newHost(b)
	wasm := readGuest(b, "sum")
	for i := range 10 {
		name := fmt.Sprintf("app%d", i)
		h.deploys(name, one(name, name, ""), map[string][]byte{"c": wasm})
	}
	var made struct{ Token string }
	if err := json.Unmarshal(h.call("POST", "/v1/tenants/acme/tokens", `{"name":"owner","role":"owner"}`), &made); err != nil {
		b.Fatal(err)
	}
	h.token = made.Token
	return median(b, 3, func() float64 {
		alone := h.requests()
		capacity := h.capacity("acme:app0")
		stop := h.flow("acme:app0", capacity/2)
		beside := h.requests()
		stop()
		b.Logf("messages: %d/s of %d/s; requests alone: p50 %v, p99 %v; beside messages: p50 %v, p99 %v, most %v", capacity/2, capacity,
			alone[len(alone)/2], alone[len(alone)*99/100], beside[len(beside)/2], beside[len(beside)*99/100], beside[len(beside)-1])
		return float64(beside[len(beside)*99/100].Microseconds()) / 1000
	})
}

// requests sends requests for 5 seconds, and returns what each took, the shortest first.
func (h *host) requests() []time.Duration {
	kinds := []struct{ method, path, body string }{
		{"GET", "apps", ""}, {"GET", "apps/app1", ""}, {"GET", "triggers", ""}, {"GET", "usage", ""}, {"GET", "apps/app2/versions", ""},
		{"PUT", "apps/app3/variables/greeting", `{"value":"hello"}`}, {"GET", "apps/app3/variables", ""}, {"GET", "audit?limit=20", ""},
		{"POST", "messages", `{"channel":"app4","payload":"x"}`}, {"GET", "invocations?limit=20", ""}, {"GET", "apps/app5/deployments", ""},
		{"PUT", "apps/app6/secrets/token", `{"value":"hush"}`}, {"GET", "policy", ""}, {"GET", "channels", ""}, {"GET", "subscriptions", ""}, {"GET", "members", ""},
	}
	const rate, lasts = 200, 1000
	took := make([]time.Duration, lasts)
	var all sync.WaitGroup
	began := time.Now()
	for i := range lasts {
		due := began.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(due))
		r := kinds[i%len(kinds)]
		all.Go(func() {
			if _, err := h.try(r.method, "/v1/tenants/acme/"+r.path, []byte(r.body)); err != nil {
				h.b.Error(err)
			}
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	if h.b.Failed() {
		h.b.FailNow()
	}
	slices.Sort(took)
	return took
}

// received counts the messages that acme's triggers got.
func (h *host) received() int64 {
	var u usage
	if err := json.Unmarshal(h.call("GET", "/v1/tenants/acme/usage", ""), &u); err != nil {
		h.b.Fatal(err)
	}
	return u.Counts.Received
}

// capacity is how many messages a second are handled where as many are published as Redis takes, a window of them ahead.
func (h *host) capacity(channel string) int {
	const window = 20_000
	client := h.redis.Client()
	before, began, sent := h.received(), time.Now(), int64(0)
	for time.Since(began) < 3*time.Second {
		if sent-(h.received()-before) > window {
			time.Sleep(time.Millisecond)
			continue
		}
		if err := publishMany(client, channel, 2000); err != nil {
			h.b.Fatal(err)
		}
		sent += 2000
	}
	return int(float64(h.received()-before) / time.Since(began).Seconds())
}

func publishMany(client *redis.Client, channel string, n int) error {
	_, err := client.Pipelined(background, func(p redis.Pipeliner) error {
		for range n {
			p.Publish(background, channel, strings.Repeat("x", 64))
		}
		return nil
	})
	return err
}

// flow publishes at a rate until the returned function is called.
func (h *host) flow(channel string, rate int) (stop func()) {
	ctx, cancel := context.WithCancel(background)
	var publisher sync.WaitGroup
	client := h.redis.Client()
	publisher.Go(func() { // ends with ctx
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		sent := 0
		for began := time.Now(); ctx.Err() == nil; <-tick.C {
			due := int(time.Since(began).Seconds() * float64(rate))
			if err := publishMany(client, channel, due-sent); err != nil {
				h.b.Error(err)
				return
			}
			sent = due
		}
	})
	return func() {
		cancel()
		publisher.Wait()
	}
}
