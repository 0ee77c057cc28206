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

// pathNaive is tenloom's rate, from the socket to the handler's return with a clean instance for each message, over that of the loop that
// everybody writes first: go-redis' ReceiveMessage, then a warm guest that is never reset. Both run the same guest on payloads of 64 bytes.
func pathNaive(b *testing.B) float64 {
	wasm := readGuest(b, "sum")
	feed := startBlaster(b)
	return median(b, 5, func() float64 {
		naive := naiveRate(b, feed, wasm)
		ours := tenloomRate(b, feed, wasm)
		b.Logf("naive %.0f/s, tenloom %.0f/s", naive, ours)
		return ours / naive
	})
}

func readGuest(b *testing.B, name string) []byte {
	wasm, err := os.ReadFile(filepath.Join("testdata", name, name+".wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return wasm
}

// naiveRate is messages per second of the naive loop.
func naiveRate(b *testing.B, feed *blaster, wasm []byte) float64 {
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
	n, began := 0, time.Time{}
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
			began = time.Now()
		case n > 1000 && n%256 == 0:
			if took := time.Since(began); took > pathLasts {
				return float64(n-1000) / took.Seconds()
			}
		}
	}
}

// tenloomRate is messages per second through the scheduler and the sandbox, as "up" wires them: one tenant, one trigger, accounts and
// history on.
func tenloomRate(b *testing.B, feed *blaster, wasm []byte) float64 {
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
	rate := pace(b, feed, account)
	left, err := s.Shutdown(background)
	if err != nil && !errors.Is(err, io.EOF) || left != (scheduler.Stopped{}) {
		b.Fatal(left, err)
	}
	if c := account.Counts(); c.Outcomes["handled"] != c.Received {
		b.Fatalf("%d of %d were handled: %v %v", c.Outcomes["handled"], c.Received, c.Outcomes, c.Reasons)
	}
	return rate
}

// pace keeps up to a window of messages on their way and returns how many were handled in a second.
func pace(b *testing.B, feed *blaster, account *telemetry.Account) float64 {
	const window, step = 8000, 1024 // below the tenant's queue of 10,000
	allowed, began, before := int64(0), time.Time{}, int64(0)
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
		case began.IsZero() && handled > 2000: // warm
			began, before = time.Now(), handled
		case !began.IsZero() && time.Since(began) > pathLasts:
			rate := float64(handled-before) / time.Since(began).Seconds()
			for account.Counts().Ended() < allowed { // leave nothing to the next round
				time.Sleep(time.Millisecond)
			}
			return rate
		}
		time.Sleep(200 * time.Microsecond)
	}
}
