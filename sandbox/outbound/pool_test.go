package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// open is what cmd gives a pool, with the options that go-redis reads from a URL itself.
func open(address string, dial dial) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	o.Dialer, o.DialerRetries, o.MaxRetries = dial, 1, -1
	return redis.NewClient(o), nil
}

func direct(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(outbound.Dialer).DialContext(ctx, network, addr)
}

// isClosed asks a client that has no server: a closed one says so before it dials.
func isClosed(c redis.UniversalClient) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return errors.Is(c.Ping(ctx).Err(), redis.ErrClosed)
}

func get(t *testing.T, p *outbound.Pool, address string) (redis.UniversalClient, func()) {
	t.Helper()
	c, release, err := p.Get(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return c, release
}

func TestPoolSharesOneClient(t *testing.T) {
	s := redistest.Start(t)
	p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct})
	defer p.Close()
	one, release := get(t, p, "redis://"+s.Addr)
	defer release()
	two, release := get(t, p, "redis://"+s.Addr)
	defer release()
	if one != two {
		t.Error("two clients for one address")
	}
	other, release := get(t, p, "redis://"+s.Addr+"/1")
	defer release()
	if other == one {
		t.Error("one client for two addresses")
	}
	if err := one.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := two.Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if err := other.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the other database: %v", err)
	}
}

func TestPoolOpensOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		gate := make(chan struct{})
		p := outbound.NewPool(outbound.PoolConfig{Dial: direct, Open: func(address string, d dial) (redis.UniversalClient, error) {
			opened.Add(1)
			<-gate
			return open(address, d)
		}})
		defer p.Close()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, release, err := p.Get(context.Background(), "redis://h"); err != nil {
					t.Error(err)
				} else {
					release()
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, _, err := p.Get(ctx, "redis://h"); !errors.Is(err, context.Canceled) {
			t.Errorf("a waiter whose context ended: %v", err)
		}
		close(gate)
		wg.Wait()
		if n := opened.Load(); n != 1 {
			t.Errorf("opened %d times", n)
		}
	})
}

func TestPoolOpenFails(t *testing.T) {
	fail := true
	p := outbound.NewPool(outbound.PoolConfig{Dial: direct, Open: func(address string, d dial) (redis.UniversalClient, error) {
		if fail {
			return nil, errors.New("no such option")
		}
		return open(address, d)
	}})
	defer p.Close()
	if _, _, err := p.Get(t.Context(), "redis://h"); !errors.Is(err, outbound.ErrInvalidAddress) || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("got %v", err)
	}
	fail = false
	_, release := get(t, p, "redis://h")
	release()
	if _, _, err := p.Get(t.Context(), "redis://user:hunter2@h:x"); !errors.Is(err, outbound.ErrInvalidAddress) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestPoolOpenPanics(t *testing.T) {
	p := outbound.NewPool(outbound.PoolConfig{Dial: direct, MaxClients: 1, Open: func(string, dial) (redis.UniversalClient, error) { panic("open") }})
	defer p.Close()
	for range 2 {
		func() {
			defer func() {
				if recover() != "open" {
					t.Error("the panic was swallowed")
				}
			}()
			_, _, _ = p.Get(t.Context(), "redis://h")
		}()
	}
}

func TestPoolEvictsTheLongestIdle(t *testing.T) {
	p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct, MaxClients: 2})
	defer p.Close()
	a, releaseA := get(t, p, "redis://a")
	b, releaseB := get(t, p, "redis://b")
	if _, _, err := p.Get(t.Context(), "redis://c"); !errors.Is(err, outbound.ErrTooManyConnections) {
		t.Errorf("both in use: %v", err)
	}
	releaseB()
	releaseA()
	_, releaseC := get(t, p, "redis://c")
	if !isClosed(b) || isClosed(a) {
		t.Errorf("closed: a %v, b %v", isClosed(a), isClosed(b))
	}
	releaseC()
	releaseC() // a second release must not count
	_, _ = get(t, p, "redis://c")
	_, releaseB = get(t, p, "redis://b")
	if !isClosed(a) {
		t.Error("a is open")
	}
	releaseB()
}

func TestPoolClosesTheIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct})
		defer p.Close()
		a, releaseA := get(t, p, "redis://a")
		b, releaseB := get(t, p, "redis://b")
		used, releaseUsed := get(t, p, "redis://used")
		releaseA()
		time.Sleep(4 * time.Minute)
		releaseB()
		time.Sleep(2 * time.Minute)
		_, releaseC := get(t, p, "redis://c")
		if !isClosed(a) || isClosed(b) || isClosed(used) {
			t.Errorf("closed: a %v, b %v, used %v", isClosed(a), isClosed(b), isClosed(used))
		}
		releaseC()
		releaseUsed()
	})
}

func TestPoolClose(t *testing.T) {
	p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct})
	idle, release := get(t, p, "redis://idle")
	release()
	used, release := get(t, p, "redis://used")
	_, second := get(t, p, "redis://used")
	p.Close()
	p.Close()
	if !isClosed(idle) || isClosed(used) {
		t.Errorf("closed: idle %v, used %v", isClosed(idle), isClosed(used))
	}
	if _, _, err := p.Get(t.Context(), "redis://used"); !errors.Is(err, outbound.ErrPoolClosed) {
		t.Errorf("got %v", err)
	}
	release()
	if isClosed(used) {
		t.Error("closed under its second user")
	}
	second()
	if !isClosed(used) {
		t.Error("open after its last user")
	}
}

// A client is held to its own address, whatever its options or the server's redirections make it dial.
func TestPoolPinsItsClients(t *testing.T) {
	mini := miniredis.RunT(t)
	p := outbound.NewPool(outbound.PoolConfig{Dial: direct, Open: func(address string, d dial) (redis.UniversalClient, error) {
		return open("redis://"+mini.Addr(), d)
	}})
	defer p.Close()
	c, release := get(t, p, "redis://elsewhere:6379")
	defer release()
	if err := c.Ping(t.Context()).Err(); !errors.Is(err, outbound.ErrProhibited) {
		t.Errorf("got %v", err)
	}
	c, release = get(t, p, "redis://"+mini.Addr())
	defer release()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestPoolNeedsItsGuard(t *testing.T) {
	for name, build := range map[string]func(){
		"pool without dial":   func() { outbound.NewPool(outbound.PoolConfig{Open: open}) },
		"pool without open":   func() { outbound.NewPool(outbound.PoolConfig{Dial: direct}) },
		"client without dial": func() { outbound.NewHTTPClient(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was built", name)
				}
			}()
			build()
		}()
	}
}

// Many users of more addresses than there are clients: a client is never closed under a user, the bound holds, and at the end all are
// closed.
func TestPoolHammer(t *testing.T) {
	const most, users, rounds = 4, 16, 150
	mini := miniredis.RunT(t)
	var mu sync.Mutex
	var clients []redis.UniversalClient
	p := outbound.NewPool(outbound.PoolConfig{Dial: direct, MaxClients: most, Open: func(address string, d dial) (redis.UniversalClient, error) {
		c, err := open(address, d)
		mu.Lock()
		defer mu.Unlock()
		clients = append(clients, c)
		return c, err
	}})
	var served, refused atomic.Int64
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(u)))
			for range rounds {
				database := random.IntN(2 * most)
				c, release, err := p.Get(t.Context(), fmt.Sprintf("redis://%s/%d", mini.Addr(), database))
				if errors.Is(err, outbound.ErrTooManyConnections) {
					refused.Add(1)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Incr(t.Context(), "n").Err(); err != nil {
					t.Errorf("a client in use: %v", err)
				}
				served.Add(1)
				release()
			}
		})
	}
	wg.Wait()
	p.Close()
	if served.Load()+refused.Load() != users*rounds || served.Load() == 0 {
		t.Errorf("served %d, refused %d", served.Load(), refused.Load())
	}
	open := 0
	for _, c := range clients {
		if !isClosed(c) {
			open++
		}
	}
	if open > 0 {
		t.Errorf("%d of %d clients are open after Close", open, len(clients))
	}
}

// Close in the middle of use.
func TestPoolHammerClose(t *testing.T) {
	mini := miniredis.RunT(t)
	p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct})
	var wg sync.WaitGroup
	for u := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if u == 0 && i == 25 {
					p.Close()
				}
				c, release, err := p.Get(t.Context(), fmt.Sprintf("redis://%s/%d", mini.Addr(), u%3))
				if errors.Is(err, outbound.ErrPoolClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Ping(t.Context()).Err(); err != nil {
					t.Errorf("a client in use: %v", err)
				}
				release()
			}
		})
	}
	wg.Wait()
}

// TestPoolRetires: a client that is retired serves those who hold it to the end, and whoever comes next gets another.
func TestPoolRetires(t *testing.T) {
	s := redistest.Start(t)
	p := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: direct})
	defer p.Close()
	address := "redis://" + s.Addr
	held, release := get(t, p, address)
	again, releaseAgain := get(t, p, address)
	idle, done := get(t, p, address+"/1")
	done()
	kept, keep := get(t, p, address+"/2")
	keep()
	p.Retire(func(a string) bool { return !strings.HasSuffix(a, "/2") })
	if !isClosed(idle) || isClosed(kept) || isClosed(held) {
		t.Errorf("idle closed %v, another's %v, one in use %v", isClosed(idle), isClosed(kept), isClosed(held))
	}
	next, releaseNext := get(t, p, address)
	defer releaseNext()
	if next == held {
		t.Error("a retired client was given out")
	}
	release()
	if isClosed(again) {
		t.Error("it was closed while it was in use")
	}
	releaseAgain()
	if !isClosed(again) || isClosed(next) {
		t.Errorf("after its last use: closed %v, its successor %v", isClosed(again), isClosed(next))
	}
}
