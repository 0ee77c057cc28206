//go:build !portable

package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

var soak = flag.Int("soak", 20_000, "invocations of TestSoak; make soak runs a million")

// usage is what the process holds.
type usage struct {
	resident    int // bytes
	mappings    int
	descriptors int // without those of rings, of which each thread that has run guests keeps one
	rings       int
	goroutines  int
}

func usageNow(t *testing.T) (u usage) {
	t.Helper()
	runtime.GC() // twice: what has a finalizer goes with the second
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.Contains(to, "perf_event") {
			u.rings++
		}
	}
	u.resident, u.mappings, u.descriptors, u.goroutines = pages*os.Getpagesize(), bytes.Count(maps, []byte("\n")), len(fds)-u.rings, runtime.NumGoroutine()
	return u
}

// How much more the process may hold at the end than after the warm-up.
const (
	// A leak of 50 bytes in each of a million invocations is 48 MiB. What the Go heap keeps for itself varies by a few MiB from one sample to
	// the next, and under the race detector by more.
	soakResident = 32 << 20

	// An instance that waits has up to three mappings, and the Go heap and the threads that a busy process starts some dozen. One mapping for each
	// thousandth invocation would be a thousand.
	soakMappings = 200
)

// TestSoak sends a mix of messages: most are fine, some fail, trap, exit, grow memory or change tables, few loop or overflow the stack, and now
// and then a component or a program is made and closed. Memory, mappings, descriptors and goroutines end where they were after the warm-up, a
// fifth of all. The samples in between go to the log, for the trend.
func TestSoak(t *testing.T) {
	r, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	var components []*Component
	for seed := range uint64(wildModules) {
		p, err := r.Compile(context.Background(), wildGuest(seed))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			components = append(components, p.Bind(Binding{Memory: 1 << 20, Timeout: time.Minute}))
		}
	}
	const parts = 10
	var samples [parts]usage
	began := time.Now()
	for k := range samples {
		soakPart(t, r, components, uint64(k), *soak/parts)
		if samples[k] = usageNow(t); k > 0 {
			t.Logf("%8d invocations: %+v", (k+1)*(*soak/parts), samples[k])
		}
	}
	t.Logf("%d invocations in %v", *soak, time.Since(began).Round(time.Second))
	before, after := samples[parts/5-1], samples[parts-1]
	// The least of the last three: one sample may come while the heap is large.
	after.resident = min(after.resident, samples[parts-2].resident, samples[parts-3].resident)
	if after.resident > before.resident+soakResident {
		t.Errorf("%d MiB are resident, %d after the warm-up", after.resident>>20, before.resident>>20)
	}
	if after.mappings > before.mappings+soakMappings {
		t.Errorf("%d mappings, %d after the warm-up", after.mappings, before.mappings)
	}
	if after.descriptors > before.descriptors || after.rings > maxRings {
		t.Errorf("%d descriptors and %d rings, %d descriptors after the warm-up", after.descriptors, after.rings, before.descriptors)
	}
	if after.goroutines > before.goroutines {
		t.Errorf("%d goroutines, %d after the warm-up", after.goroutines, before.goroutines)
	}
}

// soakPart sends so many messages from several goroutines.
func soakPart(t *testing.T, r *Runtime, components []*Component, seed uint64, n int) {
	senders := 2 * runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	for g := range senders {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(g)))
			for range n / senders {
				soakOne(t, r, components[random.IntN(len(components))], random)
			}
		})
	}
	all.Wait()
}

func soakOne(t *testing.T, r *Runtime, c *Component, random *rand.Rand) {
	ctx := context.Background()
	end := endOK
	switch n := random.IntN(10_000); {
	case n < 1500:
		end = endError + byte(n%3)
	case n < 1510:
		end = endLoop
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
	case n < 1511 && *soak >= 100_000: // a stack of 50 MB, whose shadow the race detector keeps for ever
		end = endOverflow
	case n < 1520: // a component comes and goes
		c = c.program.Bind(Binding{Memory: 1 << 20})
		defer c.Close()
	case n < 1521: // and a program
		p, err := r.Compile(ctx, wildGuest(wildModules+uint64(random.IntN(100))))
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		c = p.Bind(Binding{Memory: 1 << 20})
		defer c.Close()
	}
	got := c.Invoke(ctx, Call{Payload: append(binary.LittleEndian.AppendUint64(nil, random.Uint64()), end)})
	var f *Failure
	if errors.As(got.Err, &f) && (f.Kind == Internal || f.Kind == NotStarted) || got.Err != nil && got.Outcome == tenants.Handled {
		t.Errorf("%v, %v", got.Outcome, got.Err)
	}
}
