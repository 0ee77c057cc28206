package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tetratelabs/wazero"

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

func readGuest(b *testing.B, name string) []byte {
	wasm, err := os.ReadFile(filepath.Join("testdata", name, name+".wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return wasm
}

// naiveSpeed is that of the naive loop.
func naiveSpeed(b *testing.B, feed *blaster, wasm []byte) speed {
	runtime := wazero.NewRuntime(background)
	defer runtime.Close(background)
	program, err := runtime.CompileModule(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	mod, err := runtime.InstantiateModule(background, program, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	handle, memory := mod.ExportedFunction("handle-redis-message"), mod.Memory()
	client := redis.NewClient(&redis.Options{Addr: feed.addr, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	subscription := client.Subscribe(background, "free:64")
	defer subscription.Close()
	stack := make([]uint64, 2)
	n, since := int64(0), meter{}
	for {
		message, err := subscription.ReceiveMessage(background)
		if err != nil {
			b.Fatal(err)
		}
		memory.WriteString(1024, message.Payload)
		stack[0], stack[1] = 1024, uint64(len(message.Payload))
		if err := handle.CallWithStack(background, stack); err != nil {
			b.Fatal(err)
		}
		switch n++; {
		case n == 1000: // warm
			since = startMeter()
		case n > 1000 && n%256 == 0 && since.lasted() > pathLasts:
			return since.read(n - 1000)
		}
	}
}

// tenloomSpeed is that of the scheduler and the sandbox, as "up" wires them: one tenant, one trigger, accounts and history on.
func tenloomSpeed(b *testing.B, feed *blaster, wasm []byte) speed {
	runtime, err := sandbox.New(background, sandbox.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer runtime.Close(background)
	program, err := runtime.Compile(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	recorder := telemetry.New(history)
	s, err := scheduler.New(scheduler.Config{Recorder: recorder, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	options, err := endpoint.Parse("redis://" + feed.addr)
	if err != nil {
		b.Fatal(err)
	}
	s.SetPolicy("bench", tenants.DefaultPolicy())
	s.AddEndpoint(scheduler.Endpoint{ID: "blaster", Name: feed.addr, Dial: options.Subscriber})
	one := &handler{program: program, component: program.Bind(sandbox.Binding{}), log: slog.New(slog.DiscardHandler)}
	err = s.Apply("bench", "path", []scheduler.Trigger{{Trigger: tenants.Trigger{
		Tenant: "bench", App: "path", ID: "t", Component: "sum", Endpoint: "blaster", Target: tenants.Target{Name: "paced:64"},
	}, Invoker: one}})
	if err != nil {
		b.Fatal(err)
	}
	account := recorder.Account("bench")
	reached := pace(b, feed, account)
	left, err := s.Shutdown(background)
	if err != nil && !errors.Is(err, io.EOF) || left != (scheduler.Stopped{}) {
		b.Fatal(left, err)
	}
	if c := account.Counts(); c.Outcomes["handled"] != c.Received {
		b.Fatalf("%d of %d were handled: %v %v", c.Outcomes["handled"], c.Received, c.Outcomes, c.Reasons)
	}
	return reached
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
