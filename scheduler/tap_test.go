package scheduler_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// drain takes what waits in a tap.
func drain(tap *scheduler.Tap) (all []string) {
	for {
		select {
		case m := <-tap.C:
			all = append(all, fmt.Sprintf("%s|%s|%s", m.Pattern, m.Channel, m.Payload))
		default:
			return all
		}
	}
}

// TestTap: a watcher sees what comes on its targets, whether there are triggers or not, and each message once for each of them.
func TestTap(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		if _, err := b.Tap("nowhere", []tenants.Target{channel("c")}, 1); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Errorf("%v", err)
		}
		b.apply("a", "app", on(channel("c"), handled))
		targets := []tenants.Target{channel("c"), pattern("c*"), channel("c")}
		tap, err := b.Tap("e", targets, 10)
		if err != nil {
			b.t.Fatal(err)
		}
		clear(targets)
		other, err := b.Tap("e", []tenants.Target{channel("d")}, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		b.publish("c", "1")
		b.publish("cc", "2")
		b.publish("d", "3")
		got := drain(tap)
		slices.Sort(got)
		if want := []string{"c*|cc|2", "c*|c|1", "|c|1"}; !slices.Equal(got, want) || tap.Lost() != 0 {
			b.t.Errorf("got %q, lost %d; want %q", got, tap.Lost(), want)
		}
		if got := drain(other); !slices.Equal(got, []string{"|d|3"}) {
			b.t.Errorf("%q", got)
		}
		tap.Close()
		tap.Close()
		other.Close()
		synctest.Wait()
		if b.wire.publish("d", "x") != 0 || b.wire.publish("cc", "x") != 0 || b.wire.publish("c", "x") != 1 {
			b.t.Error("a subscription is left, or the trigger's is gone")
		}
		synctest.Wait()
		if got := drain(tap); got != nil {
			b.t.Errorf("%q after Close", got)
		}
		b.stop()
		b.ended("a", map[string]int64{"handled": 2}) // a tap is no delivery
	})
}

// TestTapIsBounded: what waits for a slow watcher is bounded in messages and bytes; the rest is lost for it alone, and counted.
func TestTapIsBounded(t *testing.T) {
	big := strings.Repeat("x", 6<<20) // under the 16 MiB that wait for one watcher there is room for two
	for _, row := range []struct {
		name    string
		buffer  int
		payload string
		rounds  []int // messages published before the watcher takes one, and so on
		lost    int64
	}{
		{"messages", 3, "x", []int{5, 1, 2}, 3},
		{"a buffer of none is one", 0, "x", []int{2, 2}, 2},
		{"bytes", 100, big, []int{4, 2, 1, 2}, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, scheduler.Config{}, func(b *bubble) {
				tap, err := b.Tap("e", []tenants.Target{channel("c")}, row.buffer)
				if err != nil {
					b.t.Fatal(err)
				}
				synctest.Wait()
				sent := 0
				for _, n := range row.rounds {
					for range n {
						b.publish("c", row.payload)
						sent++
					}
					if m := next(b, tap.C); len(m.Payload) != len(row.payload) {
						b.t.Errorf("%d bytes", len(m.Payload))
					}
				}
				left := len(drain(tap))
				if tap.Lost() != row.lost || int64(sent-len(row.rounds)-left) != row.lost {
					b.t.Errorf("of %d sent %d were taken, %d were left and %d were lost; want %d lost", sent, len(row.rounds), left, tap.Lost(), row.lost)
				}
				tap.Close()
				b.stop()
			})
		})
	}
}

// TestTapHammer opens and closes taps while messages come: none blocks the reader, and no message that a trigger has is missed.
func TestTapHammer(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		const messages = 2000
		h := newHouse(t, scheduler.Config{})
		h.connect("e", url)
		h.apply("a", "app", on(channel("c"), handled))
		h.awaitActive()
		stop := make(chan struct{})
		var watchers sync.WaitGroup
		for range 4 {
			watchers.Go(func() { // ends with stop
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					tap, err := h.Tap("e", []tenants.Target{channel("c"), channel("d")}, i%3)
					if err != nil {
						t.Error(err)
						return
					}
					if i%2 == 0 {
						select {
						case <-tap.C:
						case <-stop:
						}
					}
					tap.Close()
				}
			})
		}
		for i := range messages {
			publish(t, c, "c", fmt.Sprint(i))
		}
		h.await("end of all", func() bool { return h.counts("a").Ended() == messages })
		close(stop)
		watchers.Wait()
		h.stop()
		h.ended("a", map[string]int64{"handled": messages})
	})
}
