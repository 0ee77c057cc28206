package telemetry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Batch hands what is put into it to somebody slow, many at a time, on one goroutine of its own. It is bounded: what comes while it is full is
// lost and counted, so that nobody waits.
type Batch[T any] struct {
	queue   chan T
	most    int
	delay   time.Duration
	timeout time.Duration
	send    func(context.Context, []T) error
	failed  func(error, int)
	dropped func(T)

	stop  chan struct{} // closed once, by Shutdown
	flush chan chan struct{}
	ended chan struct{} // closed when the goroutine has ended
	once  sync.Once
	sends context.Context // ends when Shutdown's time is over
	abort context.CancelFunc

	sent, lost atomic.Int64
}

// BatchConfig says how a Batch works.
type BatchConfig[T any] struct {
	Queue   int           // that wait at most; default 2048
	Most    int           // in one batch; default 512
	Delay   time.Duration // after which a batch that is not full goes; default 5 s
	Timeout time.Duration // of one Send; default 30 s
	// Send is given a batch, which it may not keep. With an error all of it is lost.
	Send func(context.Context, []T) error
	// Failed is told of such an error and how many were lost; nil tells nobody.
	Failed func(err error, lost int)
	// Dropped is given each one that Shutdown had no time for; nil drops them.
	Dropped func(T)
}

// NewBatch starts one. Shutdown ends it.
func NewBatch[T any](c BatchConfig[T]) *Batch[T] {
	b := &Batch[T]{
		queue: make(chan T, orElse(c.Queue, 2048)), most: orElse(c.Most, 512), delay: orElse(c.Delay, 5*time.Second), timeout: orElse(c.Timeout, 30*time.Second),
		send: c.Send, failed: c.Failed, dropped: c.Dropped, stop: make(chan struct{}), flush: make(chan chan struct{}), ended: make(chan struct{}),
	}
	b.most = min(b.most, cap(b.queue))
	b.sends, b.abort = context.WithCancel(context.Background())
	go b.run() // Shutdown waits for it
	return b
}

func orElse[N int | time.Duration](n, other N) N {
	if n <= 0 {
		return other
	}
	return n
}

// Put takes one, or answers false where it is lost: the queue is full. It never waits. After Shutdown nothing is taken.
func (b *Batch[T]) Put(one T) bool {
	select {
	case b.queue <- one:
		return true
	default:
		b.lost.Add(1)
		return false
	}
}

// Counts tells how many were sent, how many lost, and how many wait.
func (b *Batch[T]) Counts() (sent, lost, waiting int64) {
	return b.sent.Load(), b.lost.Load(), int64(len(b.queue))
}

// Flush sends what waits, and returns when that is done or ctx has ended.
func (b *Batch[T]) Flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case b.flush <- done:
	case <-b.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown sends what waits until ctx ends, and ends the goroutine. The error tells how many were lost by it. The caller puts nothing any more.
func (b *Batch[T]) Shutdown(ctx context.Context) error {
	before := b.lost.Load()
	b.once.Do(func() { close(b.stop) })
	stop := context.AfterFunc(ctx, b.abort)
	defer stop()
	<-b.ended
	b.abort()
	for range len(b.queue) {
		b.drop(<-b.queue)
	}
	if lost := b.lost.Load() - before; lost > 0 {
		return fmt.Errorf("%d were not sent before the end", lost)
	}
	return nil
}

func (b *Batch[T]) drop(one T) {
	b.lost.Add(1)
	if b.dropped != nil {
		b.dropped(one)
	}
}

func (b *Batch[T]) run() {
	defer close(b.ended)
	timer := time.NewTimer(b.delay)
	defer timer.Stop()
	batch := make([]T, 0, b.most)
	for {
		select {
		case one := <-b.queue:
			if batch = append(batch, one); len(batch) < b.most {
				continue
			}
			batch = b.hand(batch)
		case <-timer.C:
			batch = b.hand(batch)
		case done := <-b.flush:
			batch = b.drain(batch)
			close(done)
		case <-b.stop:
			b.drain(batch)
			return
		}
		timer.Reset(b.delay)
	}
}

// drain sends what waits at this moment.
func (b *Batch[T]) drain(batch []T) []T {
	for n := len(b.queue); n > 0; n-- {
		if batch = append(batch, <-b.queue); len(batch) == b.most {
			batch = b.hand(batch)
		}
	}
	return b.hand(batch)
}

// hand sends a batch and empties it.
func (b *Batch[T]) hand(batch []T) []T {
	n := len(batch)
	if n == 0 {
		return batch
	}
	if b.sends.Err() != nil {
		for _, one := range batch {
			b.drop(one)
		}
		clear(batch)
		return batch[:0]
	}
	ctx, cancel := context.WithTimeout(b.sends, b.timeout)
	err := b.send(ctx, batch)
	cancel()
	if err != nil {
		b.lost.Add(int64(n))
		if b.failed != nil {
			b.failed(err, n)
		}
	} else {
		b.sent.Add(int64(n))
	}
	clear(batch) // keep nothing alive
	return batch[:0]
}
