package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

const pathLasts = 500 * time.Millisecond

// speed is what a way of handling messages reaches.
type speed struct {
	rate float64       // messages per second
	cpu  time.Duration // of this process, for each message
}

// meter measures a speed between its making and its reading.
type meter struct {
	at, cpu time.Duration
}

func startMeter() meter { return meter{time.Since(meterZero), processTime()} }

var meterZero = time.Now()

func (m meter) lasted() time.Duration { return time.Since(meterZero) - m.at }

func (m meter) read(messages int64) speed {
	return speed{float64(messages) / m.lasted().Seconds(), (processTime() - m.cpu) / time.Duration(messages)}
}

// The path is from the socket to the handler's return with a clean instance for each message, queue, accounts and history on. It is held
// against the loop that everybody writes first: go-redis' ReceiveMessage, then a warm guest that is never reset. Both run the same guest on
// payloads of 64 bytes.
func pathRate(b *testing.B) float64 {
	return path(b, func(naive, ours speed) float64 { return ours.rate / naive.rate })
}

func pathCPU(b *testing.B) float64 {
	return path(b, func(naive, ours speed) float64 { return float64(ours.cpu) / float64(naive.cpu) })
}

func path(b *testing.B, ratio func(naive, ours speed) float64) float64 {
	wasm := readGuest(b, "sum")
	feed := startBlaster(b)
	return median(b, 5, func() float64 {
		naive := naiveSpeed(b, feed, wasm)
		ours := tenloomSpeed(b, feed, wasm)
		b.Logf("naive %.0f/s %v, tenloom %.0f/s %v", naive.rate, naive.cpu, ours.rate, ours.cpu)
		return ratio(naive, ours)
	})
}

// warmGuest is an instance of the guest that is never reset, as simple as wazero allows.
type warmGuest struct {
	handle api.Function
	memory api.Memory
	stack  [2]uint64
}

// newWarmGuest makes one that ends with close.
func newWarmGuest(b *testing.B, wasm []byte) (g *warmGuest, close func()) {
	runtime := wazero.NewRuntime(background)
	program, err := runtime.CompileModule(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	mod, err := runtime.InstantiateModule(background, program, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	return &warmGuest{handle: mod.ExportedFunction("handle-redis-message"), memory: mod.Memory()}, func() { runtime.Close(background) }
}

// call gives the guest the payload that was written at 1024.
func (g *warmGuest) call(b *testing.B, length int) {
	g.stack = [2]uint64{1024, uint64(length)}
	if err := g.handle.CallWithStack(background, g.stack[:]); err != nil {
		b.Fatal(err)
	}
}

// warmed reads a meter once it has run for long enough, begun after the first thousand messages.
type warmed struct {
	since meter
	n     int64
}

func (w *warmed) count() (reached speed, done bool) {
	switch w.n++; {
	case w.n == 1000:
		w.since = startMeter()
	case w.n > 1000 && w.n%256 == 0 && w.since.lasted() > pathLasts:
		return w.since.read(w.n - 1000), true
	}
	return speed{}, false
}

func readGuest(b testing.TB, name string) []byte {
	wasm, err := os.ReadFile(filepath.Join("testdata", name, name+".wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return wasm
}

// naiveSpeed is that of the naive loop.
func naiveSpeed(b *testing.B, feed *blaster, wasm []byte) speed {
	guest, end := newWarmGuest(b, wasm)
	defer end()
	client := redis.NewClient(&redis.Options{Addr: feed.addr, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	subscription := client.Subscribe(background, "free:64")
	defer subscription.Close()
	var w warmed
	for {
		message, err := subscription.ReceiveMessage(background)
		if err != nil {
			b.Fatal(err)
		}
		guest.memory.WriteString(1024, message.Payload)
		guest.call(b, len(message.Payload))
		if reached, done := w.count(); done {
			return reached
		}
	}
}

// pathway is the scheduler and the sandbox as "up" wires them: one tenant, one trigger, accounts and history on.
type pathway struct {
	b         testing.TB
	runtime   *sandbox.Runtime
	scheduler *scheduler.Scheduler
	recorder  *telemetry.Recorder
	account   *telemetry.Account
}

// startPathway waits until the channel is subscribed to, and tells watch, if given, of each delivery after its handler has returned.
func startPathway(b testing.TB, url, channel string, wasm []byte, watch func(*scheduler.Delivery)) *pathway {
	w := &pathway{b: b}
	var err error
	if w.runtime, err = sandbox.New(background, sandbox.Config{Log: slog.New(slog.DiscardHandler)}); err != nil {
		b.Fatal(err)
	}
	program, err := w.runtime.Compile(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	recorder := telemetry.New(history)
	if w.scheduler, err = scheduler.New(scheduler.Config{Recorder: recorder, Log: slog.New(slog.DiscardHandler)}); err != nil {
		b.Fatal(err)
	}
	options, err := endpoint.Parse(url)
	if err != nil {
		b.Fatal(err)
	}
	w.scheduler.SetPolicy("bench", tenants.DefaultPolicy())
	w.scheduler.AddEndpoint(scheduler.Endpoint{ID: "e", Name: options.Name(), Dial: options.Subscriber})
	var invoker scheduler.Invoker = &handler{program: program, component: program.Bind(sandbox.Binding{}), log: slog.New(slog.DiscardHandler)}
	if watch != nil {
		invoker = &watched{invoker, watch}
	}
	err = w.scheduler.Apply("bench", "path", []scheduler.Trigger{{Trigger: tenants.Trigger{
		Tenant: "bench", App: "path", ID: "t", Component: "sum", Endpoint: "e", Target: tenants.Target{Name: channel},
	}, Invoker: invoker}})
	if err != nil {
		b.Fatal(err)
	}
	w.recorder, w.account = recorder, recorder.Account("bench")
	for w.scheduler.Triggers("bench")[0].State != scheduler.Active {
		time.Sleep(time.Millisecond)
	}
	return w
}

// keep writes usage and invocations down as "up" does, until the returned function is called.
func (w *pathway) keep(dir string) (stop func()) {
	o := &observed{recorder: w.recorder, meter: telemetry.NewMeter(w.recorder, 0), log: slog.New(slog.DiscardHandler)}
	end, err := o.keep(dir, kept{})
	if err != nil {
		w.b.Fatal(err)
	}
	return func() {
		if err := end(); err != nil {
			w.b.Fatal(err)
		}
	}
}

// stop checks that every message was handled.
func (w *pathway) stop() {
	left, err := w.scheduler.Shutdown(background)
	if err != nil && !errors.Is(err, io.EOF) || !left.Nothing() {
		w.b.Fatal(left, err)
	}
	if err := w.runtime.Close(background); err != nil {
		w.b.Fatal(err)
	}
	if c := w.account.Counts(); c.Outcomes["handled"] != c.Received {
		w.b.Fatalf("%d of %d were handled: %v %v", c.Outcomes["handled"], c.Received, c.Outcomes, c.Reasons)
	}
}

// watched is an Invoker with somebody who looks on.
type watched struct {
	scheduler.Invoker
	watch func(*scheduler.Delivery)
}

func (w *watched) Open() scheduler.Session {
	s := watchedSessions.Get().(*watchedSession)
	s.Session, s.watch = w.Invoker.Open(), w.watch
	return s
}

var watchedSessions = sync.Pool{New: func() any { return new(watchedSession) }} // what watches must not allocate either

func (w *watchedSession) Close() {
	w.Session.Close()
	watchedSessions.Put(w)
}

type watchedSession struct {
	scheduler.Session
	watch func(*scheduler.Delivery)
}

func (w *watchedSession) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	r := w.Session.Invoke(ctx, d)
	w.watch(d)
	return r
}

// tenloomSpeed is that of a pathway that writes usage and invocations down.
func tenloomSpeed(b *testing.B, feed *blaster, wasm []byte) speed {
	w := startPathway(b, "redis://"+feed.addr, "paced:64", wasm, nil)
	defer w.keep(b.TempDir())()
	defer w.stop()
	return pace(b, feed, w.account)
}

// pace keeps up to a window of messages on their way.
func pace(b *testing.B, feed *blaster, account *telemetry.Account) speed {
	const window, step = 8000, 1024 // below the tenant's queue of 10,000
	allowed, since, before := int64(0), meter{}, int64(0)
	for {
		c := account.Counts()
		handled := c.Ended()
		for allowed-handled <= window-step {
			if err := feed.allow(step); err != nil {
				b.Fatal(err)
			}
			allowed += step
		}
		switch {
		case before == 0 && handled > 2000: // warm
			since, before = startMeter(), handled
		case before > 0 && since.lasted() > pathLasts:
			reached := since.read(handled - before)
			for account.Counts().Ended() < allowed { // leave nothing to the next round
				time.Sleep(time.Millisecond)
			}
			return reached
		}
		time.Sleep(200 * time.Microsecond)
	}
}
