package sandbox

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetSharesProcessors: whoever computes, whatever the slices, the tenant's guests get its share of the time and no more.
func TestBudgetSharesProcessors(t *testing.T) {
	for _, row := range []struct {
		share  float64
		guests int
	}{{0.5, 1}, {0.5, 8}, {2, 8}, {0.01, 3}, {4, 2}} {
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(row.share)
			const during, slice = 20 * time.Second, 200 * time.Microsecond
			end := time.Now().Add(during)
			var mu sync.Mutex
			var computed time.Duration
			var all sync.WaitGroup
			for range row.guests {
				all.Go(func() {
					for time.Now().Before(end) {
						time.Sleep(slice) // it computes
						mu.Lock()
						computed += slice
						mu.Unlock()
						for wait := b.spend(slice, time.Now()); wait > 0; wait = b.spend(0, time.Now()) {
							time.Sleep(wait)
						}
					}
				})
			}
			all.Wait()
			want := time.Duration(min(row.share, float64(row.guests)) * float64(during))
			most := want + saved(row.share) + time.Duration(row.guests)*slice
			if computed < want-want/100 || computed > most {
				t.Errorf("%d guests computed for %v of %v with %v processors, want from %v to %v", row.guests, computed, during, row.share, want, most)
			}
		})
	}
}

// TestBudgetSavesLittle: after an idle hour there is one period's worth, and what was taken without having it is waited for.
func TestBudgetSavesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0.5)
		time.Sleep(time.Hour)
		if wait := b.spend(50*time.Millisecond, time.Now()); wait != 0 {
			t.Errorf("waits %v with its savings", wait)
		}
		if wait := b.spend(10*time.Millisecond, time.Now()); wait < 20*time.Millisecond || wait > 21*time.Millisecond {
			t.Errorf("waits %v for 10 ms at half a processor", wait)
		}
		time.Sleep(10 * time.Millisecond)
		if wait := b.spend(0, time.Now()); wait < 10*time.Millisecond || wait > 11*time.Millisecond {
			t.Errorf("waits %v half way", wait)
		}
		time.Sleep(11 * time.Millisecond)
		if wait := b.spend(0, time.Now()); wait != 0 {
			t.Errorf("waits %v after that", wait)
		}
	})
}

// TestWaitingEndsInTime with the deadline and with the caller.
func TestWaitingEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		var v invocation
		v.begin(ctx, began, time.Second)
		if !v.sleep(400*time.Millisecond) || time.Since(began) != 400*time.Millisecond {
			t.Errorf("did not wait as long as asked: %v", time.Since(began))
		}
		if v.sleep(time.Hour) || time.Since(began) != time.Second {
			t.Errorf("did not end with its deadline: %v", time.Since(began))
		}
		v.begin(ctx, time.Now(), time.Hour)
		time.AfterFunc(time.Second, cancel)
		if v.sleep(time.Hour) || time.Since(began) != 2*time.Second {
			t.Errorf("did not end with its caller: %v", time.Since(began))
		}
	})
}
