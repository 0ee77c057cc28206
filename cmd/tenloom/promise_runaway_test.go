package main

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// runawayStop is how long after its deadline a guest that loops for ever is back, in milliseconds, with one such guest for each processor:
// the last of them, in the middle one of several rounds.
func runawayStop(b *testing.B) float64 {
	const timeout = 100 * time.Millisecond
	component := endless(b, timeout)
	late := make([]time.Duration, 0, 15)
	for range cap(late) {
		began := time.Now()
		var guests sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			guests.Go(func() { loopForEver(b, component) })
		}
		guests.Wait()
		late = append(late, time.Since(began)-timeout)
	}
	b.Logf("late by %v at most, %v in the middle", slices.Max(late), middle(late))
	return float64(middle(late).Microseconds()) / 1000
}

// runawayGC is how long runtime.GC takes beside them, in milliseconds: the middle one of several.
func runawayGC(b *testing.B) float64 {
	component := endless(b, 2*time.Second)
	var guests sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		guests.Go(func() { loopForEver(b, component) })
	}
	time.Sleep(200 * time.Millisecond) // until all of them loop
	took := make([]time.Duration, 0, 15)
	for range cap(took) {
		began := time.Now()
		runtime.GC()
		took = append(took, time.Since(began))
	}
	guests.Wait()
	b.Logf("a collection took %v at most, %v in the middle", slices.Max(took), middle(took))
	return float64(middle(took).Microseconds()) / 1000
}

func endless(b *testing.B, timeout time.Duration) *sandbox.Component {
	program, err := newSandbox(b).Compile(background, readGuest(b, "endless"))
	if err != nil {
		b.Fatal(err)
	}
	component := program.Bind(sandbox.Binding{Timeout: timeout})
	b.Cleanup(func() { component.Close(); program.Close() })
	return component
}

func loopForEver(b *testing.B, c *sandbox.Component) {
	var failure *sandbox.Failure
	if got := c.Invoke(background, sandbox.Call{Payload: sixtyFour}); !errors.As(got.Err, &failure) || failure.Kind != sandbox.OutOfTime {
		b.Errorf("a guest that loops for ever ended with %v", got.Err)
	}
}
