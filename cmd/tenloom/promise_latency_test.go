package main

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// Messages at a tenth of what the path takes, on a redis-server: how much later a handler has returned than a raw go-redis subscriber beside
// it, in the same process, has the message.
const (
	latencyEach  = 200 * time.Microsecond
	latencyCount = 5000
)

// pathMedian is in microseconds.
func pathMedian(b *testing.B) float64 {
	return latency(b, func(raw, ours []time.Duration) float64 { return float64(at(ours, 50)-at(raw, 50)) / 1e3 })
}

func pathTail(b *testing.B) float64 {
	return latency(b, func(raw, ours []time.Duration) float64 { return float64(at(ours, 99)) / float64(at(raw, 99)) })
}

func at(sorted []time.Duration, percent int) time.Duration { return sorted[len(sorted)*percent/100] }

func latency(b *testing.B, figure func(raw, ours []time.Duration) float64) float64 {
	wasm := readGuest(b, "sum")
	server := redistest.Start(b)
	return median(b, 5, func() float64 {
		raw, ours := latencies(b, server, wasm)
		b.Logf("raw p50 %v p99 %v, tenloom p50 %v p99 %v", at(raw, 50), at(raw, 99), at(ours, 50), at(ours, 99))
		return figure(raw, ours)
	})
}

// latencies are those of both, sorted.
func latencies(b *testing.B, server *redistest.Server, wasm []byte) (raw, ours []time.Duration) {
	var sent, seen, handled [latencyCount]atomic.Int64
	w := startPathway(b, server.URL, "latency", wasm, func(d *scheduler.Delivery) {
		handled[binary.LittleEndian.Uint64(d.Payload())].Store(int64(time.Since(meterZero)))
	})
	defer w.stop()
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	ctx, stop := context.WithCancel(background)
	defer stop()
	beside := client.Subscribe(ctx, "latency")
	defer beside.Close()
	if _, err := beside.Receive(ctx); err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			m, err := beside.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			seen[binary.LittleEndian.Uint64([]byte(m.Payload))].Store(int64(time.Since(meterZero)))
		}
	}()
	tick := time.NewTicker(latencyEach)
	defer tick.Stop()
	payload := make([]byte, 64)
	for n := range sent {
		<-tick.C
		binary.LittleEndian.PutUint64(payload, uint64(n))
		sent[n].Store(int64(time.Since(meterZero)))
		if err := client.Publish(ctx, "latency", payload).Err(); err != nil {
			b.Fatal(err)
		}
	}
	for n := range sent {
		for seen[n].Load() == 0 || handled[n].Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		raw = append(raw, time.Duration(seen[n].Load()-sent[n].Load()))
		ours = append(ours, time.Duration(handled[n].Load()-sent[n].Load()))
	}
	slices.Sort(raw)
	slices.Sort(ours)
	return raw, ours
}
