package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func parse(t testing.TB, url string) *endpoint.Options {
	t.Helper()
	o, err := endpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// acl is a server whose user app may do the least that a subscriber needs.
func acl(t *testing.T) *redistest.Server {
	return redistest.Start(t, "--user", "app", "on", ">p@ss/word", "&orders", "+subscribe", "+ping")
}

func TestSubscriber(t *testing.T) {
	for _, c := range []struct {
		name  string
		url   func(t *testing.T) string
		first byte // of a push: '>' in RESP 3, '*' in RESP 2
	}{
		{"plain", func(t *testing.T) string { return redistest.Start(t).URL }, '>'},
		{"plain RESP2, database ignored", func(t *testing.T) string { return redistest.Start(t).URL + "/99?protocol=2" }, '*'},
		{"requirepass", func(t *testing.T) string { return redistest.Start(t, "--requirepass", "p@ss word%").URL }, '>'},
		{"ACL user", func(t *testing.T) string { return acl(t).As("app", "p@ss/word") }, '>'},
		{"ACL user RESP2", func(t *testing.T) string { return acl(t).As("app", "p@ss/word") + "?protocol=2" }, '*'},
		{"TLS", func(t *testing.T) string { return redistest.StartTLS(t, ca, "--requirepass", "x").URL }, '>'},
		{"HELLO refused", func(t *testing.T) string {
			return redistest.Start(t, "--requirepass", "x", "--rename-command", "HELLO", "").URL
		}, '*'},
		{"miniredis", func(t *testing.T) string { return "redis://" + redistest.Embedded(t) }, '>'},
		{"miniredis RESP2", func(t *testing.T) string { return "redis://" + redistest.Embedded(t) + "?protocol=2" }, '*'},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, err := parse(t, c.url(t)).Subscriber(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			if _, err := io.WriteString(socket, "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\norders\r\n"); err != nil {
				t.Fatal(err)
			}
			want := string(c.first) + "3\r\n$9\r\nsubscribe\r\n$6\r\norders\r\n:1\r\n"
			if got := read(t, socket, len(want)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			if err := socket.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := socket.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
		})
	}
}

func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if got, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("read: %v after %q", err, b[:got])
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSubscriberOwnsTheSocket finds one connection, named, that go-redis neither reads from nor puts a deadline on.
func TestSubscriberOwnsTheSocket(t *testing.T) {
	s := redistest.Start(t)
	socket, err := parse(t, s.URL).Subscriber(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Client().Do(t.Context(), "CLIENT", "LIST").Text()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(list, "name=tenloom ") != 1 || strings.Count(list, "\n") > 2 {
		t.Errorf("CLIENT LIST: %s", list)
	}
	var b [1]byte
	if err := socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("an idle socket: %v", err)
	}
	if err := socket.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(socket, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, socket, 7); got != "+PONG\r\n" {
		t.Fatalf("got %q", got)
	}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSubscriberFails(t *testing.T) {
	locked := redistest.Start(t, "--requirepass", "s3cret", "--user", "mute", "on", ">s3cret", "+subscribe")
	secure := redistest.StartTLS(t, ca)
	other, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stranger := redistest.StartTLS(t, other)
	gone := redistest.Start(t)
	gone.Kill()
	for name, c := range map[string]struct{ url, want string }{
		"refused":        {gone.URL, "connect to " + gone.Addr},
		"no password":    {"redis://" + locked.Addr, "write it into the address"},
		"wrong password": {locked.As("", "s3crets3cret"), "check user and password"},
		"no such user":   {locked.As("nobody", "s3cret"), "check user and password"},
		"no ping":        {locked.As("mute", "s3cret"), "+ping"},
		"TLS wanted":     {"redis://" + secure.Addr, "write rediss://"},
		"plain wanted":   {"rediss://" + locked.Addr, "write redis://"},
		"unknown CA":     {stranger.URL, "SSL_CERT_FILE"},
		"not found":      {"redis://host.invalid", "host.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a plain server waits for more of a TLS hello
			defer cancel()
			socket, err := parse(t, c.url).Subscriber(ctx)
			if err == nil {
				socket.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v; want %q and no secret", err, c.want)
			}
		})
	}
}

// TestSubscriberEndsWithContext holds the link half-open in the middle of the log-in and of the TLS handshake.
func TestSubscriberEndsWithContext(t *testing.T) {
	for name, s := range map[string]*redistest.Server{"plain": redistest.Start(t), "TLS": redistest.StartTLS(t, ca)} {
		t.Run(name, func(t *testing.T) {
			link := redistest.Proxy(t, s.Addr)
			link.Blackhole()
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(20*time.Millisecond, cancel)
			begin := time.Now()
			_, err := parse(t, strings.Replace(s.URL, s.Addr, link.Addr, 1)).Subscriber(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's end", err)
			}
			if took := time.Since(begin); took > 4*time.Second { // the time-outs of dialling and logging in are 5 s
				t.Errorf("took %v", took)
			}
		})
	}
}

// quoting is a network peer that answers every command with an error which quotes it, as servers before 6.0 do with HELLO.
func quoting(t *testing.T) (addr string) {
	return listen(t, func(c net.Conn) {
		b := make([]byte, 4<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "-ERR unknown command %q\r\n", b[:n])
		}
	})
}

// listen serves connections until the test ends; whoever dialled must have closed them by then.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return l.Addr().String()
}

func TestServerThatQuotesThePassword(t *testing.T) {
	o := parse(t, "redis://u:s3cret@"+quoting(t))
	_, err := o.Subscriber(t.Context())
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "***") {
		t.Errorf("got %v", err)
	}
}

func TestClient(t *testing.T) {
	for name, url := range map[string]string{
		"plain":       redistest.Start(t).URL + "/3",
		"RESP2":       redistest.Start(t).URL + "/3?protocol=2",
		"requirepass": redistest.Start(t, "--requirepass", "p@ss word").URL,
		"ACL user":    redistest.Start(t, "--user", "app", "on", ">p/w", "~k", "+set", "+get").As("app", "p/w"),
		"TLS":         redistest.StartTLS(t, ca).URL,
		"miniredis":   "redis://" + redistest.Embedded(t),
	} {
		t.Run(name, func(t *testing.T) {
			var dialled atomic.Int32
			for _, dial := range []func(context.Context, string, string) (net.Conn, error){nil, func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			}} {
				c := parse(t, url).Client(dial)
				if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
					t.Error(err)
				}
				if got, err := c.Get(t.Context(), "k").Result(); got != "v" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if dialled.Load() == 0 {
				t.Error("the given dialer was not used")
			}
		})
	}
}

// TestClientBounds keeps 40 blocking commands waiting and counts the sockets.
func TestClientBounds(t *testing.T) {
	s := redistest.Start(t)
	c := parse(t, s.URL).Client(nil)
	defer c.Close()
	var wait sync.WaitGroup
	for range 40 {
		wait.Go(func() {
			if err := c.BLPop(t.Context(), patience, "list").Err(); err != nil {
				t.Errorf("blpop: %v", err)
			}
		})
	}
	observer := s.Client()
	for popped := 0; popped < 40; {
		list, err := observer.Do(t.Context(), "CLIENT", "LIST").Text()
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(list, "cmd=blpop"); n > 16 {
			t.Fatalf("%d sockets", n)
		} else if n == 16 || 40-popped <= n {
			if err := observer.RPush(t.Context(), "list", "x").Err(); err != nil {
				t.Fatal(err)
			}
			popped++
		}
	}
	wait.Wait()
}

func TestClientEndsWithContext(t *testing.T) {
	link := redistest.Proxy(t, redistest.Start(t).Addr)
	c := parse(t, "redis://"+link.Addr).Client(nil)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	link.Blackhole()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a black hole answered")
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestClientSendsOnce loses the reply to an INCR and finds it executed once.
func TestClientSendsOnce(t *testing.T) {
	s := redistest.Start(t)
	c := parse(t, "redis://"+deafTo(t, s.Addr, "incr")).Client(nil)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Incr(t.Context(), "n").Err(); err == nil {
		t.Fatal("the reply was to be lost")
	}
	if got, err := s.Client().Get(t.Context(), "n").Int(); err != nil || got != 1 {
		t.Errorf("n is %d, %v; want 1", got, err)
	}
}

// deafTo is a network that closes a connection when the server has answered the given command, and keeps the answer.
func deafTo(t *testing.T, target, command string) (addr string) {
	return listen(t, func(c net.Conn) {
		server, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		b := make([]byte, 4<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			lose := strings.Contains(string(b[:n]), command)
			if _, err := server.Write(b[:n]); err != nil {
				return
			}
			if n, err = server.Read(b); err != nil || lose {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	})
}

func TestLogTo(t *testing.T) {
	var out syncBuffer
	endpoint.LogTo(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	s := redistest.Start(t)
	s.Kill()
	c := parse(t, s.As("", "s3cret")).Client(nil)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "connect to "+s.Addr) {
		t.Errorf("got %v", err)
	}
	if got := out.String(); !strings.Contains(got, "level=DEBUG") || strings.Contains(got, "s3cret") {
		t.Errorf("logged %q", got)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
