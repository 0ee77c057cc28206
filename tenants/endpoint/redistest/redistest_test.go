package redistest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestServers(t *testing.T) {
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func() *redistest.Server{
		"plain":    func() *redistest.Server { return redistest.Start(t) },
		"password": func() *redistest.Server { return redistest.Start(t, "--requirepass", "p@ss word") },
		"tls":      func() *redistest.Server { return redistest.StartTLS(t, ca, "--requirepass", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			s := start()
			c := s.Client()
			if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			s.Restart()
			if err := c.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
				t.Fatalf("after a restart: %v, want an empty server", err)
			}
			s.Stop()
			s.Kill()
			if c, err := net.Dial("tcp", s.Addr); err == nil {
				c.Close()
				t.Fatal("a stopped server accepts connections")
			}
		})
	}
}

func TestAs(t *testing.T) {
	s := redistest.Start(t, "--user", "app", "on", ">pw", "+ping")
	opt, err := redis.ParseURL(s.As("app", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), "k").Err(); !redis.HasErrorPrefix(err, "NOPERM") {
		t.Fatalf("got %v, want NOPERM", err)
	}
}

func TestEmbedded(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: redistest.Embedded(t)})
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestLink(t *testing.T) {
	link := redistest.Proxy(t, redistest.Start(t).Addr)
	c, err := net.Dial("tcp", link.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ping := func() error {
		_, err := c.Write([]byte("PING\r\n"))
		return err
	}
	pong := func(within time.Duration) error {
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			return err
		}
		var b [7]byte
		_, err := c.Read(b[:])
		return err
	}
	if err := errors.Join(ping(), pong(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	link.Blackhole()
	if err := errors.Join(ping(), pong(50*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("through a black hole: %v", err)
	}
	link.Restore()
	if err := pong(10 * time.Second); err != nil {
		t.Fatalf("after Restore: %v", err)
	}
	link.Cut()
	if err := pong(10 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after Cut: %v", err)
	}
	link.Restore()
	opt := redis.NewClient(&redis.Options{Addr: link.Addr})
	defer opt.Close()
	if err := opt.Ping(context.Background()).Err(); err != nil {
		t.Fatalf("a new connection after Restore: %v", err)
	}
}
