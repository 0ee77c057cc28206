//go:build !race

package main

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
)

// TestPathAllocatesNothing takes messages the whole way from the socket to a clean guest and their record. A few allocations are for what
// happens now and then: pools that the garbage collector has emptied, a goroutine more. The race detector has pools lose things on purpose.
func TestPathAllocatesNothing(t *testing.T) {
	const step, warm, counted = 1000, 20, 100
	feed := startBlaster(t)
	var handled atomic.Int64
	done := make(chan struct{})
	w := startPathway(t, "redis://"+feed.addr, "paced:64", readGuest(t, "sum"), func(*scheduler.Delivery) {
		if handled.Add(1)%step == 0 {
			done <- struct{}{}
		}
	})
	defer w.stop()
	steps := func(n int) {
		for range n {
			if err := feed.allow(step); err != nil {
				t.Fatal(err)
			}
			<-done
		}
	}
	var before, after runtime.MemStats
	steps(warm)
	runtime.ReadMemStats(&before)
	steps(counted)
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / (counted * step); each > 0.05 {
		t.Errorf("%.3f allocations for each message", each)
	} else {
		t.Logf("%.5f allocations for each message", each)
	}
}
