package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestOptionsAreShared uses one Options from many goroutines while slots move to and fro: nobody is led astray for good, and each counter has
// what its increments were answered with.
func TestOptionsAreShared(t *testing.T) {
	t.Parallel()
	k := redistest.StartCluster(t, redistest.SentinelConfig{})
	o := parse(t, k.URL)
	client := o.Client(nil)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var users sync.WaitGroup
	var sum [4]atomic.Int64
	const moving = "orders"
	users.Go(func() { o.Watch(ctx, func(endpoint.Change) {}) })
	for i := range sum {
		users.Go(func() {
			for ctx.Err() == nil {
				socket, slots, err := o.ShardSubscriber(ctx, endpoint.Slot(moving))
				if err == nil {
					err = socket.Close()
				}
				if ctx.Err() == nil && (err != nil || slots.Owner(endpoint.Slot(moving)) == "") {
					t.Error(err)
				}
			}
		})
		users.Go(func() {
			for key := fmt.Sprintf("{%s}%d", moving, i); ctx.Err() == nil; {
				n, err := client.Incr(context.WithoutCancel(ctx), key).Result()
				if err != nil || n != sum[i].Add(1) {
					t.Errorf("%s is %d, %v; want %d", key, n, err, sum[i].Load())
					return
				}
			}
		})
	}
	slot := endpoint.Slot(moving)
	for range 4 {
		from := k.Owner(slot)
		for _, to := range k.Nodes {
			if to != from {
				k.MoveSlot(slot, to)
				break
			}
		}
	}
	cancel()
	users.Wait()
}

// TestMasterClientIsShared uses one client from many goroutines over a failover: what it was told is written is on the new master, or the
// command failed.
func TestMasterClientIsShared(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.SentinelConfig{})
	client := parse(t, s.URL).Client(nil)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var users sync.WaitGroup
	var after atomic.Int64 // increments since the new master was known
	var known atomic.Bool
	for range 4 {
		users.Go(func() {
			for ctx.Err() == nil {
				was := known.Load()
				if client.Incr(context.WithoutCancel(ctx), "n").Err() == nil && was {
					after.Add(1)
				}
			}
		})
	}
	master, _ := s.Demote()
	before, err := master.Client().Get(t.Context(), "n").Int64()
	if err != nil {
		t.Fatal(err)
	}
	known.Store(true)
	eventually(t, "increments after the failover", func() error {
		if after.Load() < 50 {
			return errors.New("too few")
		}
		return nil
	})
	cancel()
	users.Wait()
	if n, err := master.Client().Get(t.Context(), "n").Int64(); err != nil || n < before+after.Load() {
		t.Errorf("the new master counts %d, %v; it had %d and answered %d more", n, err, before, after.Load())
	}
}
