package outbound_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

// answers resolves every name to the same addresses.
func answers(addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var list []netip.Addr
		for _, a := range addrs {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}
}

// listen accepts connections on a loopback address until the test ends, and closes them.
func listen(t *testing.T, addr string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener is closed; the cleanup waits for it
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestDialerProhibited(t *testing.T) {
	rows := []struct {
		name, addr string
		answer     []string
	}{
		{"name", "cache:6379", []string{"127.0.0.1", "::1"}},
		{"literal", "127.0.0.1:6379", nil},
		{"mapped", "[::ffff:127.0.0.1]:6379", nil},
		{"metadata", "169.254.169.254:80", nil},
		{"mapped answer", "cache:6379", []string{"::ffff:10.0.0.1"}},
	}
	for _, row := range rows {
		d := &outbound.Dialer{Blocked: networks(t, "private"), Resolve: answers(row.answer...)}
		_, err := d.DialContext(t.Context(), "tcp", row.addr)
		if !errors.Is(err, outbound.ErrProhibited) {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		host, _, _ := net.SplitHostPort(row.addr)
		if !strings.Contains(err.Error(), strconv.Quote(host)) || !strings.Contains(err.Error(), "block_networks") {
			t.Errorf("%s: the error names neither host nor knob: %v", row.name, err)
		}
	}
}

func TestDialerRefusesOtherNetworks(t *testing.T) {
	d := &outbound.Dialer{}
	for _, network := range []string{"unix", "udp", "unixgram", ""} {
		if _, err := d.DialContext(t.Context(), network, "127.0.0.1:1"); !errors.Is(err, outbound.ErrProhibited) {
			t.Errorf("%q: %v", network, err)
		}
	}
	for _, addr := range []string{"/run/redis.sock", "h", "h:http", "h:0", "h:70000"} {
		if _, err := d.DialContext(t.Context(), "tcp", addr); !errors.Is(err, outbound.ErrInvalidAddress) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// The blocked answers are dropped, the first that is left and answers is used, and the name is asked for once.
func TestDialerFallsBackInOrder(t *testing.T) {
	port := listen(t, "127.0.0.3:0")
	var asked atomic.Int32
	d := &outbound.Dialer{
		Blocked: networks(t, "127.0.0.1/32", "::1/128"),
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if asked.Add(1) > 1 {
				return answers("127.0.0.1")(ctx, host)
			}
			return answers("::1", "127.0.0.1", "127.0.0.2", "::ffff:127.0.0.3", "127.0.0.4")(ctx, host)
		},
	}
	conn, err := d.DialContext(t.Context(), "tcp", "name:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.3" {
		t.Errorf("connected to %s", got)
	}
	if asked.Load() != 1 {
		t.Errorf("resolved %d times", asked.Load())
	}
}

// When nothing answers, the error is that of the first address that was tried.
func TestDialerReportsTheFirstFailure(t *testing.T) {
	port := listen(t, "127.0.0.3:0")
	d := &outbound.Dialer{Blocked: networks(t, "127.0.0.3/32"), Resolve: answers("127.0.0.3", "127.0.0.2", "127.0.0.4")}
	_, err := d.DialContext(t.Context(), "tcp", "name:"+port)
	if err == nil || errors.Is(err, outbound.ErrProhibited) || !strings.Contains(err.Error(), "127.0.0.2:"+port) {
		t.Errorf("got %v", err)
	}
}

func TestDialerNetworkFamily(t *testing.T) {
	port := listen(t, "127.0.0.1:0")
	d := &outbound.Dialer{Resolve: answers("::1", "::ffff:127.0.0.1")}
	conn, err := d.DialContext(t.Context(), "tcp4", "name:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	d.Resolve = answers("127.0.0.1")
	if _, err := d.DialContext(t.Context(), "tcp6", "name:"+port); err == nil || !strings.Contains(err.Error(), "tcp6") {
		t.Errorf("got %v", err)
	}
}

func TestDialerHonoursItsContext(t *testing.T) {
	resolving := func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&outbound.Dialer{Resolve: resolving}).DialContext(ctx, "tcp", "name:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	d := &outbound.Dialer{Resolve: resolving, Timeout: time.Millisecond}
	if _, err := d.DialContext(t.Context(), "tcp", "name:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timed out: %v", err)
	}
}
