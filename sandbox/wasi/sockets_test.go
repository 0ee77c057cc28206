package wasi_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

const tcp = "sockets/tcp"

// listen starts a server that sends back what it gets, in capitals, until the other side has ended; and then says goodbye.
func listen(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, err := io.ReadAll(c)
				if err == nil {
					_, _ = io.WriteString(c, strings.ToUpper(string(all))+"BYE")
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func ip4(a netip.AddrPort) canon.Value {
	b := a.Addr().As4()
	return canon.Variant{Payload: []canon.Value{a.Port(), []canon.Value{b[0], b[1], b[2], b[3]}}}
}

func (r *rig) socket() canon.Value {
	r.t.Helper()
	return r.ok("sockets/tcp-create-socket", "create-tcp-socket", canon.Enum(0))
}

func (r *rig) network() canon.Value { return r.must("sockets/instance-network", "instance-network") }

// connect gives the streams of a socket, or the error code.
func (r *rig) connect(s canon.Value, to netip.AddrPort) (in, out canon.Value, code int) {
	r.t.Helper()
	if v := r.must(tcp, "[method]tcp-socket.start-connect", s, r.network(), ip4(to)).(canon.Variant); v.Case == 1 {
		return nil, nil, int(v.Payload.(canon.Enum))
	}
	p := r.must(tcp, "[method]tcp-socket.subscribe", s)
	r.must("io/poll", "[method]pollable.block", p)
	v := r.must(tcp, "[method]tcp-socket.finish-connect", s).(canon.Variant)
	if v.Case == 1 {
		return nil, nil, int(v.Payload.(canon.Enum))
	}
	pair := v.Payload.([]canon.Value)
	return pair[0], pair[1], -1
}

func TestTCP(t *testing.T) {
	server := listen(t)
	r, _ := outward(t, spin.Limits{}, nil, fmt.Sprintf("tcp://%s", server))
	s := r.socket()
	if got := r.fails(tcp, "[method]tcp-socket.local-address", s); got != canon.Enum(9) {
		t.Errorf("local address before: %v", got)
	}
	in, out, code := r.connect(s, server)
	if code >= 0 {
		t.Fatalf("connect: code %d", code)
	}
	if got := r.fails(tcp, "[method]tcp-socket.start-connect", s, r.network(), ip4(server)); got != canon.Enum(9) {
		t.Errorf("a second connect: %v", got)
	}
	if got := r.ok(tcp, "[method]tcp-socket.remote-address", s); fmt.Sprint(got) != fmt.Sprint(ip4(server)) {
		t.Errorf("remote address %v", got)
	}
	if got := fmt.Sprint(r.ok(tcp, "[method]tcp-socket.local-address", s)); !strings.HasSuffix(got, "[0 0 0 0]]}") {
		t.Errorf("local address %v", got)
	}
	if got := r.ok("io/streams", "[method]input-stream.read", in, uint64(10)); len(got.([]byte)) != 0 {
		t.Errorf("the server said %q by itself", got)
	}
	big := strings.Repeat("abcdefgh", 10_000)
	r.ok("io/streams", "[method]output-stream.blocking-write-and-flush", out, []byte(big))
	r.ok("io/streams", "[method]output-stream.blocking-write-zeroes-and-flush", out, uint64(3))
	r.ok(tcp, "[method]tcp-socket.shutdown", s, canon.Enum(1))
	if got := r.fails("io/streams", "[method]output-stream.write", out, []byte("x")); got != (canon.Variant{Case: 1}) {
		t.Errorf("write after a shutdown: %v", got)
	}
	var all strings.Builder
	for {
		r.Free()
		v := r.must("io/streams", "[method]input-stream.blocking-read", in, uint64(1<<20)).(canon.Variant)
		if v.Case == 1 {
			if v.Payload != (canon.Variant{Case: 1}) {
				t.Errorf("the stream ends with %v", v.Payload)
			}
			break
		}
		all.Write(v.Payload.([]byte))
	}
	if want := strings.ToUpper(big) + "\x00\x00\x00BYE"; all.String() != want {
		t.Errorf("got %d bytes, want %d", all.Len(), len(want))
	}
	if _, totals := r.system.Call.Outcalls(); totals.Sent != 80_003 || totals.Received != 80_006 {
		t.Errorf("counted %+v", totals)
	}
	r.ok(tcp, "[method]tcp-socket.shutdown", s, canon.Enum(2))
}

func TestTCPIsRefused(t *testing.T) {
	server := listen(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	r, denied := outward(t, spin.Limits{Connections: 2}, nil, "tcp://127.0.0.1:*", "http://10.0.0.1:*")
	s := r.socket()
	for to, want := range map[string]int{"10.0.0.1:80": 1, "127.0.0.1:0": 3, "0.0.0.0:80": 3} {
		if _, _, code := r.connect(s, netip.MustParseAddrPort(to)); code != want {
			t.Errorf("connect to %s: code %d, want %d", to, code, want)
		}
	}
	if want := `tcp://10.0.0.1:80 allowed_outbound_hosts = ["tcp://10.0.0.1:80"]`; len(*denied) != 1 || (*denied)[0] != want {
		t.Errorf("told of %q", *denied)
	}
	six := canon.Variant{Case: 1, Payload: []canon.Value{uint16(80), uint32(0), []canon.Value{uint16(0), uint16(0), uint16(0), uint16(0), uint16(0), uint16(0), uint16(0), uint16(1)}, uint32(0)}}
	if got := r.fails(tcp, "[method]tcp-socket.start-connect", s, r.network(), six); got != canon.Enum(3) {
		t.Errorf("IPv6 on an IPv4 socket: %v", got)
	}
	if _, _, code := r.connect(s, gone); code != 14 {
		t.Errorf("a server that is gone: code %d", code)
	}
	for name, want := range map[string]canon.Enum{"finish-connect": 7, "finish-bind": 7, "finish-listen": 7, "start-listen": 1, "accept": 9, "remote-address": 9, "hop-limit": 2} {
		if got := r.fails(tcp, "[method]tcp-socket."+name, s); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := r.fails(tcp, "[method]tcp-socket.start-bind", s, r.network(), ip4(server)); got != canon.Enum(1) {
		t.Errorf("bind: %v", got)
	}
	second := r.socket()
	if got := r.fails("sockets/tcp-create-socket", "create-tcp-socket", canon.Enum(0)); got != canon.Enum(10) {
		t.Errorf("a third socket of two: %v", got)
	}
	r.drop(tcp, "tcp-socket", second)
	r.drop(tcp, "tcp-socket", s)
	if _, _, code := r.connect(r.socket(), server); code >= 0 {
		t.Errorf("after drops: code %d", code)
	}
	if got := r.fails("sockets/udp-create-socket", "create-udp-socket", canon.Enum(0)); got != canon.Enum(1) {
		t.Errorf("UDP: %v", got)
	}
	blocked, _ := outward(t, spin.Limits{}, []string{"private"}, "tcp://127.0.0.1:*")
	if _, _, code := blocked.connect(blocked.socket(), server); code != 1 {
		t.Errorf("a blocked network: code %d", code)
	}
	without := newRig(t, &wasi.System{})
	if got := without.fails("sockets/tcp-create-socket", "create-tcp-socket", canon.Enum(0)); got != canon.Enum(1) {
		t.Errorf("without a way out: %v", got)
	}
}

func TestSocketOptionsAreKept(t *testing.T) {
	r, _ := outward(t, spin.Limits{}, nil)
	s := r.socket()
	for name, v := range map[string]canon.Value{
		"keep-alive-enabled": true, "keep-alive-idle-time": uint64(5e9), "keep-alive-interval": uint64(6e9), "keep-alive-count": uint32(3),
		"receive-buffer-size": uint64(1), "send-buffer-size": uint64(2),
	} {
		r.ok(tcp, "[method]tcp-socket.set-"+name, s, v)
		if got := r.ok(tcp, "[method]tcp-socket."+name, s); got != v {
			t.Errorf("%s: %v, want %v", name, got, v)
		}
	}
	if got := r.fails(tcp, "[method]tcp-socket.set-keep-alive-count", s, uint32(0)); got != canon.Enum(3) {
		t.Errorf("count 0: %v", got)
	}
}

func TestNamesAreNotLookedUp(t *testing.T) {
	r := newRig(t, &wasi.System{})
	if got := r.fails("sockets/ip-name-lookup", "resolve-addresses", r.network(), "example.com"); got != canon.Enum(2) {
		t.Errorf("a name: %v", got)
	}
	for text, want := range map[string]string{"127.0.0.1": "{0 [127 0 0 1]}", "::1": "{1 [0 0 0 0 0 0 0 1]}"} {
		stream := r.ok("sockets/ip-name-lookup", "resolve-addresses", r.network(), text)
		next := "[method]resolve-address-stream.resolve-next-address"
		if got := fmt.Sprint(r.ok("sockets/ip-name-lookup", next, stream)); got != "{1 "+want+"}" {
			t.Errorf("%s: %s", text, got)
		}
		if got := r.ok("sockets/ip-name-lookup", next, stream); got != hosttest.None() {
			t.Errorf("%s: then %v", text, got)
		}
	}
}
