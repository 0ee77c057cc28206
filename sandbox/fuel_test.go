package sandbox_test

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants"
)

// spending is a message for the guest "spend": so much of what kind says.
func spending(kind byte, n uint32) string {
	return string(binary.LittleEndian.AppendUint32([]byte{kind}, n))
}

func spender(t testing.TB, b sandbox.Binding) *sandbox.Component {
	if b.Host == nil {
		b.Host = &spin.Host{Stores: map[string]spin.Store{"default": spin.NewMemoryStore(1 << 20)}}
	}
	return bind(t, "spend", b)
}

// TestSameMessageSameFuel: whatever ran before in the same instance, however the guest ends, wherever its slices end, and beside others.
func TestSameMessageSameFuel(t *testing.T) {
	messages := []string{
		"", spending('l', 10), spending('l', 3_000_000), spending('c', 10), spending('c', 1_000_000), spending('d', 10), spending('d', 5000),
		spending('u', 100), spending('u', 1_000_000), spending('t', 100), spending('t', 1_000_000), spending('e', 500_000),
		spending('x', 10), spending('x', 500_000), spending('f', 1), spending('f', 300), spending('F', 300), spending('p', 20),
		spending('o', 3), spending('s', 3), spending('g', 3), strings.Repeat("z", 3<<20),
	}
	used := make([]uint64, len(messages))
	for i, m := range messages {
		used[i] = invoke(spender(t, sandbox.Binding{}), m).Fuel // the first message of its component, which starts it
		if used[i] == 0 {
			t.Errorf("message %d used no fuel", i)
		}
	}
	for _, want := range []struct {
		message     int
		least, most uint64
	}{{2, 3_000_000 * 5, 3_000_000 * 30}, {15, 300 * 4096, 300*4096*3 + 1000}, {16, 300*4096 + 1_000_000*5, 300*4096*3 + 1_000_000*30}} {
		if n := used[want.message]; n < want.least || n > want.most {
			t.Errorf("message %d used %d units, want from %d to %d", want.message, n, want.least, want.most)
		}
	}
	for _, b := range []sandbox.Binding{{}, {Reuse: true}} {
		c := spender(t, b)
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := range 2 * len(messages) {
					i = (i*(2*worker+1) + worker) % len(messages) // in another order each
					if b.Reuse && i >= 14 {
						continue // these find what the message before has left
					}
					if n := invoke(c, messages[i]).Fuel; n != used[i] {
						t.Errorf("reuse %v: message %d used %d units, alone %d", b.Reuse, i, n, used[i])
					}
				}
			})
		}
		all.Wait()
	}
}

// TestFuelLimit: a guest ends with the unit that is one too many, and what it used up to there is counted.
func TestFuelLimit(t *testing.T) {
	for _, m := range []string{spending('l', 3_000_000), spending('l', 100), spending('c', 200_000), spending('f', 300), spending('F', 300), spending('d', 5000)} {
		used := invoke(spender(t, sandbox.Binding{}), m).Fuel
		if got := invoke(spender(t, sandbox.Binding{Fuel: used}), m); got.Err != nil || got.Fuel != used {
			t.Errorf("%q with all of its %d units: %v after %d", m[:1], used, got.Err, got.Fuel)
		}
		for _, limit := range []uint64{1, used / 2, used - 1} {
			c := spender(t, sandbox.Binding{Fuel: limit})
			got := invoke(c, m)
			f := failure(t, got)
			if f.Kind != sandbox.OutOfFuel || got.Outcome != tenants.Failed || !strings.Contains(f.Text, "fuel = ") || !strings.Contains(f.Text, "units") {
				t.Errorf("%q with %d of %d units: %v %+v", m[:1], limit, used, got.Outcome, f)
			}
			if again := invoke(c, m); again.Fuel != got.Fuel {
				t.Errorf("%q with %d units used %d, then %d", m[:1], limit, got.Fuel, again.Fuel)
			}
		}
	}
}

// TestFuelOfTheStart counts against the limit, and not for messages.
func TestFuelOfTheStart(t *testing.T) {
	c := bind(t, "init-loop", sandbox.Binding{Fuel: 1_000_000})
	if f := failure(t, sandbox.Result{Err: c.Check(context.Background())}); f.Kind != sandbox.OutOfFuel || !strings.Contains(f.Text, "in _initialize") {
		t.Errorf("%+v", f)
	}
}

// TestLargeBulkComesBackOnce: what a bulk instruction owes is granted at once, and the deadline holds right after it.
func TestLargeBulkComesBackOnce(t *testing.T) {
	c := spender(t, sandbox.Binding{Memory: 1 << 30, Timeout: 20 * time.Millisecond})
	if f := failure(t, invoke(c, spending('F', 10_000))); f.Kind != sandbox.OutOfTime {
		t.Errorf("%+v", f)
	}
}

func TestFuelIsUnlimitedByDefault(t *testing.T) {
	if got := invoke(spender(t, sandbox.Binding{}), spending('l', 20_000_000)); got.Err != nil || got.Fuel < 100_000_000 {
		t.Errorf("%v after %d units", got.Err, got.Fuel)
	}
}
