package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestBackoff waits a thousand times in synthetic time and looks at the spread.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		var longest, total time.Duration
		const times = 1000
		for i := range times {
			begin := time.Now()
			b.wait(t.Context())
			took := time.Since(begin)
			if ceiling := min(minBackoff<<min(i, 10), maxBackoff); took > ceiling {
				t.Fatalf("wait %d took %v, want at most %v", i, took, ceiling)
			}
			longest, total = max(longest, took), total+took
		}
		if mean := total / times; longest < maxBackoff*9/10 || mean < maxBackoff*4/10 || mean > maxBackoff*6/10 {
			t.Errorf("longest %v, mean %v, want an even spread up to %v", longest, mean, maxBackoff)
		}
		b.reset()
		begin := time.Now()
		b.wait(t.Context())
		if took := time.Since(begin); took > minBackoff {
			t.Errorf("after reset: %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin = time.Now()
		for range 100 {
			b.wait(ctx)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("after the context's end: %v", took)
		}
	})
}
