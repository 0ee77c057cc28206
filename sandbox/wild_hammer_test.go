package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wildModules is how many generated guests the hammer runs for each method, each for two tenants.
const wildModules = 9

// TestWildGuestsFindTheSnapshot lets generated guests do whatever guests can do, half of the time badly, from several goroutines over several
// components, two of each module. Every message must find what the first one found, by the guest's own account and, for what waits in a pool, by
// comparing bytes; and so it must by each way of resetting.
func TestWildGuestsFindTheSnapshot(t *testing.T) {
	for _, trial := range ResetTrials() {
		t.Run(string(trial.Method), func(t *testing.T) {
			if trial.Err != nil {
				t.Logf("left out: %v", trial.Err)
				return
			}
			hammerWild(t, trial.Method)
		})
	}
}

// wildComponent is one tenant's, with what each of its messages must find.
type wildComponent struct {
	*Component
	seed uint64
	want [2]uint64 // without and with a page more
}

func hammerWild(t *testing.T, how ResetMethod) {
	r, err := New(context.Background(), Config{Reset: how})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	var components []*wildComponent
	resettable := 0
	for seed := range uint64(wildModules) {
		p, err := r.Compile(context.Background(), wildGuest(seed))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if p.cores[0].report.Resettable {
			resettable++
		}
		one, other := bindWild(t, p, seed), bindWild(t, p, seed)
		if one.want != other.want {
			t.Fatalf("seed %d: two tenants begin with %x and %x", seed, one.want, other.want)
		}
		components = append(components, one, other)
	}
	if resettable < wildModules/2 || resettable == wildModules {
		t.Errorf("%d of %d modules can be reset", resettable, wildModules)
	}
	var seen [wildEnds]atomic.Int64
	var blind, all atomic.Int64
	var running sync.WaitGroup
	for g := range uint64(4) {
		running.Go(func() {
			random := rand.New(rand.NewPCG(g, 4))
			for range 40 {
				c := components[random.IntN(len(components))]
				s := c.Open()
				for range 1 + random.IntN(8) {
					all.Add(1)
					end, found := c.message(t, s, random)
					seen[end].Add(1)
					if !found {
						blind.Add(1)
					}
				}
				s.Close()
				c.inspect(t)
			}
		})
	}
	running.Wait()
	for end := range seen {
		if seen[end].Load() == 0 && byte(end) != endOverflow {
			t.Errorf("no message ended as %d", end)
		}
	}
	if blind.Load() > all.Load()/4 {
		t.Errorf("%d of %d messages did not come so far as to look", blind.Load(), all.Load())
	}
}

func bindWild(t *testing.T, p *Program, seed uint64) *wildComponent {
	c := &wildComponent{Component: p.Bind(Binding{Memory: 1 << 20, Timeout: time.Minute}), seed: seed}
	if err := c.Check(context.Background()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for more := range c.want {
		got := c.Invoke(context.Background(), Call{Payload: append(make([]byte, 9), byte(more)), KeepOutput: 8})
		if len(got.Output) != 8 {
			t.Fatalf("seed %d: %v", seed, got.Err)
		}
		c.want[more] = binary.LittleEndian.Uint64(got.Output)
	}
	return c
}

// message sends one, and tells how it was to end and whether the guest came as far as to look at itself.
func (c *wildComponent) message(t *testing.T, s *Session, random *rand.Rand) (end byte, found bool) {
	ctx := context.Background()
	switch n := random.IntN(1000); {
	case n < 500:
		end = endOK
	case n < 985:
		end = endError + byte(n%3) // traps and exits too
	case n < 988: // it takes 50 MB of stack
		end = endOverflow
	default:
		end = endLoop
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
	}
	more := byte(random.IntN(2))
	payload := append(binary.LittleEndian.AppendUint64(nil, random.Uint64()), end, more)
	got := s.Invoke(ctx, Call{Payload: payload, KeepOutput: 8})
	var f *Failure
	if errors.As(got.Err, &f) && (f.Kind == Internal || f.Kind == NotStarted) {
		t.Errorf("seed %d, message %x: %s: %v", c.seed, payload, f.Kind, f)
	}
	if len(got.Output) < 8 {
		return end, false
	}
	if have := binary.LittleEndian.Uint64(got.Output); have != c.want[more] {
		t.Errorf("seed %d, message %x: found %x, the first message found %x", c.seed, payload, have, c.want[more])
	}
	return end, true
}

// inspect looks at an instance that waits.
func (c *wildComponent) inspect(t *testing.T) {
	i := c.pool.get()
	if i == nil {
		return
	}
	if i.component != c.Component {
		t.Errorf("seed %d: an instance of another component waits", c.seed)
	}
	compareToSnapshot(t, i, c.snapshot.Load())
	if !c.pool.put(i) {
		t.Error("the pool is closed")
	}
}
