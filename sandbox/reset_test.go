package sandbox

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// TestNextMessageFindsTheSnapshot lets many goroutines send messages that write everywhere, grow memory, change globals, answer errors and
// trap, and looks at every instance that lies in the pool afterwards: memory, size and globals are the snapshot's, byte for byte. The guest
// itself answers an error with another code when it finds a trace.
func TestNextMessageFindsTheSnapshot(t *testing.T) {
	p := scribbler(t)
	c := p.Bind(Binding{})
	if !p.cores[0].report.Resettable {
		t.Fatalf("cannot be reset: %s", p.cores[0].report.Why)
	}
	var all sync.WaitGroup
	for seed := range uint64(8) {
		all.Go(func() { scribble(t, c, rand.New(rand.NewPCG(seed, 3))) })
	}
	all.Wait()
	c.Invoke(context.Background(), Call{Payload: []byte{3, 255, 0, 1}}) // whatever ended last, one lies in the pool now
	s := c.snapshot.Load()
	if len(c.pool.idle) == 0 {
		t.Fatal("no instance was kept")
	}
	for _, i := range c.pool.idle {
		compareToSnapshot(t, i, s)
	}
}

// scribbler compiles the guest that leaves traces wherever it can.
func scribbler(t *testing.T) *Program { return program(t, "scribble") }

func program(t *testing.T, guest string) *Program {
	r, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	return programOn(t, r, guest)
}

func programOn(t *testing.T, r *Runtime, guest string) *Program {
	wasm, err := os.ReadFile("testdata/guests/" + guest + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func scribble(t *testing.T, c *Component, r *rand.Rand) {
	for range 500 {
		end := byte(r.IntN(10))
		payload := []byte{byte(r.IntN(4)), byte(r.IntN(256)), end, byte(r.Uint32())}
		got := c.Invoke(context.Background(), Call{Payload: payload})
		switch {
		case end == 2 && (got.Outcome != tenants.Failed || !strings.Contains(got.Err.Error(), "unreachable")):
			t.Errorf("a trap ended as %v, %v", got.Outcome, got.Err)
		case end == 1 && got.Outcome != tenants.Failed:
			t.Errorf("an error ended as %v", got.Outcome)
		case end != 1 && end != 2 && got.Outcome != tenants.Handled:
			t.Errorf("the guest found a trace of another message: %v", got.Err)
			return
		}
	}
}

func compareToSnapshot(t *testing.T, i *instance, s *snapshot) {
	t.Helper()
	if size := i.quota.used; size != s.size {
		t.Errorf("an instance waits with %d bytes of memory, the snapshot has %d", size, s.size)
	}
	for k, m := range i.memories {
		if f := s.memories[k]; uint64(m.of.Size()) == f.size && bytes.Equal(m.region.prefix(f.size), f.image.bytes) {
			continue
		}
		t.Error("an instance waits with memory that differs from the snapshot")
	}
	for k, g := range i.globals {
		if g.Get() != s.globals[k] {
			t.Errorf("global %d is %d, in the snapshot %d", k, g.Get(), s.globals[k])
		}
	}
}

// TestComponentsOfOneProgramShareNoInstance: two tenants with the same module.
func TestComponentsOfOneProgramShareNoInstance(t *testing.T) {
	p := scribbler(t)
	one, other := p.Bind(Binding{}), p.Bind(Binding{})
	for range 3 {
		one.Invoke(context.Background(), Call{})
		other.Invoke(context.Background(), Call{})
	}
	for _, c := range []*Component{one, other} {
		if len(c.pool.idle) != 1 || c.pool.idle[0].component != c || c.pool.idle[0].snapshot != c.snapshot.Load() {
			t.Fatalf("%d instances wait", len(c.pool.idle))
		}
	}
	if one.snapshot.Load() != other.snapshot.Load() {
		t.Fatal("two components that start alike have two snapshots")
	}
}

// TestSnapshotIsShared: components that start alike have one snapshot, until the last of them closes.
func TestSnapshotIsShared(t *testing.T) {
	dice, scribble := program(t, "dice-start"), scribbler(t)
	env := map[string]string{"A": "1"}
	for name, row := range map[string]struct {
		p          *Program
		one, other Binding
		together   bool
	}{
		"alike":                        {scribble, Binding{}, Binding{Owner: "b", Timeout: time.Hour}, true},
		"another environment":          {scribble, Binding{}, Binding{Env: env}, false},
		"equal environments":           {scribble, Binding{Env: env}, Binding{Env: maps.Clone(env)}, true},
		"files":                        {scribble, Binding{}, Binding{Files: fstest.MapFS{}}, false},
		"too little memory":            {scribble, Binding{}, Binding{Memory: 1 << 16}, false},
		"drawn by chance":              {dice, Binding{Owner: "a"}, Binding{Owner: "b"}, false},
		"drawn by chance, nobody's":    {dice, Binding{}, Binding{}, false},
		"drawn by chance for an owner": {dice, Binding{Owner: "a"}, Binding{Owner: "a"}, true},
	} {
		one, other := row.p.Bind(row.one), row.p.Bind(row.other)
		one.Check(context.Background())
		other.Check(context.Background())
		s := one.snapshot.Load()
		if together := s == other.snapshot.Load(); s == nil || together != row.together {
			t.Errorf("%s: together is %v", name, together)
		}
		one.Close()
		if row.together && s.memories[0].image.bytes == nil {
			t.Errorf("%s: the image is gone while a component has it", name)
		}
		other.Close()
		if s.memories[0].image.bytes != nil || len(row.p.snapshots) > 0 {
			t.Errorf("%s: the image outlives its components", name)
		}
	}
}
