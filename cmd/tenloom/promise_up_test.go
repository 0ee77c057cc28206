package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// upWarm is the time from the start of a built program to "ready", with compiled code in its cache, in milliseconds.
func upWarm(b *testing.B) float64 {
	dir := b.TempDir()
	one := func() float64 {
		began := time.Now()
		r := startUp(b, dir, "-q")
		r.await(b, "ready in")
		took := time.Since(began)
		r.stop(b)
		return float64(took.Microseconds()) / 1000
	}
	one()
	return median(b, 5, one)
}

// upCold is the time that "go run ./cmd/tenloom up" takes to "ready" on a machine that has Go and nothing else, in seconds: module and
// build caches are empty. It depends on the network and on nothing else running.
func upCold(b *testing.B) float64 {
	caches := b.TempDir()
	began := time.Now()
	r := startProcess(b, filepath.Join("..", ".."), []string{
		"GOMODCACHE=" + filepath.Join(caches, "mod"), "GOCACHE=" + filepath.Join(caches, "build"), "GOFLAGS=-modcacherw",
	}, "go", "run", "./cmd/tenloom", "up", "--listen", "127.0.0.1:0", "--ephemeral", "-q")
	if !r.stdout.has("ready in", 10*time.Minute) {
		b.Fatal("not ready after 10 minutes, or ended before")
	}
	took := time.Since(began)
	r.stop(b)
	return took.Seconds()
}

// redisBack is the time from the moment a killed redis-server answers again to the moment every trigger is acknowledged again, in seconds:
// the longest of several.
func redisBack(b *testing.B) float64 {
	server := redistest.Start(b)
	r := startUp(b, b.TempDir(), "--redis", server.URL, "-q")
	r.await(b, "ready in")
	var all []float64
	for range 5 {
		server.Kill()
		for r.ready() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second) // as long as it takes for back-off to grow
		server.Restart()
		began := time.Now()
		for !r.ready() {
			time.Sleep(time.Millisecond)
		}
		all = append(all, time.Since(began).Seconds())
	}
	return slices.Max(all)
}

// slowNeighbour is the 99th percentile of the time from publish to the handler's answer on one channel while a component that takes a
// second is kept busy on another, over the same without it.
func slowNeighbour(b *testing.B) float64 { return beside(b, "sleep") }

// computingNeighbour is the same beside a component that computes for a second instead of sleeping.
func computingNeighbour(b *testing.B) float64 { return beside(b, "compute") }

func beside(b *testing.B, slow string) float64 {
	server := redistest.Start(b)
	dir := neighbours(b, slow)
	client := server.Client()
	return median(b, 3, func() float64 {
		r := startUp(b, dir, "--redis", server.URL, "-q") // each round its own: the slow component's queue is long at the end
		defer r.force(b)
		r.await(b, "ready in")
		replyTimes(b, client) // warm
		alone := replyTimes(b, client)
		ctx, cancel := context.WithCancel(background)
		var busy sync.WaitGroup
		busy.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				client.Publish(ctx, "slow", "x")
			}
		})
		time.Sleep(500 * time.Millisecond) // until all that may run at once does
		beside := replyTimes(b, client)
		cancel()
		busy.Wait()
		b.Logf("p99 alone %v, beside a slow component %v", alone, beside)
		return beside.Seconds() / alone.Seconds()
	})
}

// force ends the program without waiting for its handlers.
func (r *running) force(tb testing.TB) {
	r.signal(tb, syscall.SIGTERM)
	r.signal(tb, syscall.SIGTERM)
	r.wait(tb)
}

// neighbours writes an application of two components: one answers at once, one takes a second.
func neighbours(b *testing.B, slow string) string {
	dir := b.TempDir()
	for name, from := range map[string]string{
		"echo.wasm": filepath.Join("..", "..", "examples", "c-echo", "echo.wasm"),
		"slow.wasm": filepath.Join("testdata", slow, slow+".wasm"),
	} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	err := os.WriteFile(filepath.Join(dir, "spin.toml"), []byte(`spin_manifest_version = 2
[application]
name = "neighbours"
[application.trigger.redis]
address = "redis://localhost:6379"
[variables]
redis_address = { default = "redis://localhost:6379" }
[[trigger.redis]]
channel = "quick"
component = "echo"
[[trigger.redis]]
channel = "slow"
component = "slow"
[component.echo]
source = "echo.wasm"
allowed_outbound_hosts = ["redis://localhost:6379"]
variables = { redis_address = "{{ redis_address }}", to = "replies" }
[component.slow]
source = "slow.wasm"
`), 0o644)
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// replyTimes publishes 400 messages, one each 5 ms, and returns the 99th percentile of the time to the reply that the handler publishes.
func replyTimes(b *testing.B, client *redis.Client) time.Duration {
	replies := client.Subscribe(background, "replies")
	defer replies.Close()
	if _, err := replies.Receive(background); err != nil {
		b.Fatal(err)
	}
	var all []time.Duration
	for i := range 400 {
		time.Sleep(5 * time.Millisecond)
		began := time.Now()
		if err := client.Publish(background, "quick", fmt.Sprint(i)).Err(); err != nil {
			b.Fatal(err)
		}
		if _, err := replies.ReceiveMessage(background); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
