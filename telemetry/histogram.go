package telemetry

import (
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of a Histogram's buckets; one more holds what is beyond.
var Bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, 60 * time.Second,
}

const buckets = len(Bounds) + 1

// Histogram counts durations. It is safe for concurrent use, and its zero value is ready.
type Histogram struct {
	counts [buckets]atomic.Int64
	sum    atomic.Int64 // nanoseconds
}

// Add counts one.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucketOf finds the bucket by halving.
func bucketOf(d time.Duration) int {
	low, high := 0, len(Bounds)
	for low < high {
		if at := (low + high) / 2; Bounds[at] < d {
			low = at + 1
		} else {
			high = at
		}
	}
	return low
}

// Distribution is a reading of a Histogram.
type Distribution struct {
	Counts [buckets]int64 // each bucket's own
	Count  int64
	Sum    time.Duration
}

// Read reads it. Count is the sum of Counts; under traffic the Sum is of about that moment.
func (h *Histogram) Read() (d Distribution) {
	d.Sum = time.Duration(h.sum.Load())
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
		d.Count += d.Counts[i]
	}
	return d
}

func (d *Distribution) plus(o *Distribution) {
	for i := range d.Counts {
		d.Counts[i] += o.Counts[i]
	}
	d.Count += o.Count
	d.Sum += o.Sum
}
