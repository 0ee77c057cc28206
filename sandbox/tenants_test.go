package sandbox_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
)

// Two tenants deploy the same module, and each message leaves its tenant's mark in memory and in a global. With a clean instance for each message
// nobody ever finds a mark. With instances that are used again a tenant finds its own, which shows that marks last, and never the other's.
func TestTenantsNeverShareAnInstance(t *testing.T) {
	for _, how := range workingResets(t) {
		t.Run(string(how), func(t *testing.T) {
			p := compile(t, newRuntime(t, sandbox.Config{Reset: how}), guest(t, "mark"))
			for _, reuse := range []bool{false, true} {
				var own atomic.Int64
				var all sync.WaitGroup
				for tenant := range uint64(2) {
					c := p.Bind(sandbox.Binding{Reuse: reuse, Warm: 3})
					if err := c.Check(context.Background()); err != nil {
						t.Fatal(err)
					}
					for range 4 {
						all.Go(func() { own.Add(leaveMarks(t, c, tenant+1, reuse)) })
					}
				}
				all.Wait()
				if reuse != (own.Load() > 0) {
					t.Errorf("reuse %v: %d messages found their own tenant's mark", reuse, own.Load())
				}
			}
		})
	}
}

// leaveMarks sends messages of a tenant, whose number is the upper half of its marks, and counts those that found such a mark.
func leaveMarks(t *testing.T, c *sandbox.Component, tenant uint64, reuse bool) (own int64) {
	for k := range uint64(200) {
		payload := binary.LittleEndian.AppendUint64(nil, tenant<<32|k)
		got := c.Invoke(context.Background(), sandbox.Call{Payload: payload, KeepOutput: 16})
		if got.Err != nil || len(got.Output) != 16 {
			t.Errorf("%v, %x", got.Err, got.Output)
			return own
		}
		memory, global := binary.LittleEndian.Uint64(got.Output), binary.LittleEndian.Uint64(got.Output[8:])
		switch {
		case memory == 0 && global == 0:
		case reuse && memory>>32 == tenant && global == memory:
			own++
		default:
			t.Errorf("tenant %d, reuse %v: found %x in memory and %x in the global", tenant, reuse, memory, global)
			return own
		}
	}
	return own
}

// A module that changes its tables cannot be reset, so each message has an instance of its own, whose tables are as its start leaves them.
func TestTablesOfFreshInstances(t *testing.T) {
	c := bind(t, "tables", sandbox.Binding{})
	if err := c.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				if got := invoke(c, "x"); got.Err != nil || !bytes.Equal(got.Output, []byte("123-....")) {
					t.Errorf("%q, %v", got.Output, got.Err)
				}
			}
		})
	}
	all.Wait()
	again := bind(t, "tables", sandbox.Binding{Reuse: true})
	for _, want := range []string{"123-....", "-132111."} {
		if got := invoke(again, "x"); string(got.Output) != want {
			t.Errorf("used again: %q, want %q", got.Output, want)
		}
	}
}
