package wasi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/outbound"
)

const connectName = "wasi:sockets/tcp" + version + "#[method]tcp-socket.start-connect"

func tcpInterface() host.Interface {
	i := host.Interface{
		Name: "wasi:sockets/tcp" + version, Types: socketTypes, Funcs: map[string]host.Func{},
		Resources: drops("tcp-socket", "network", "input-stream", "output-stream", "pollable"),
	}
	of := func(name, t string, call canon.HostFunc) {
		i.Funcs["[method]tcp-socket."+name] = host.Func{Type: "func(self: borrow<tcp-socket>" + t, Call: call}
	}
	of("start-bind", ", network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>", refuseSocket(socketDenied))
	of("finish-bind", ") -> result<_, error-code>", refuseSocket(socketNotInProgress))
	of("start-connect", ", network: borrow<network>, remote-address: ip-socket-address) -> result<_, error-code>", startConnect)
	of("finish-connect", ") -> result<tuple<own<input-stream>, own<output-stream>>, error-code>", finishConnect)
	of("start-listen", ") -> result<_, error-code>", refuseSocket(socketDenied))
	of("finish-listen", ") -> result<_, error-code>", refuseSocket(socketNotInProgress))
	of("accept", ") -> result<tuple<own<tcp-socket>, own<input-stream>, own<output-stream>>, error-code>", refuseSocket(socketState))
	of("local-address", ") -> result<ip-socket-address, error-code>", localAddress)
	of("remote-address", ") -> result<ip-socket-address, error-code>", remoteAddress)
	of("is-listening", ") -> bool", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		in.Skip()
		out.Bool(false)
	})
	of("address-family", ") -> ip-address-family", addressFamily)
	of("set-listen-backlog-size", ", value: u64) -> result<_, error-code>", refuseSocket(socketNotSupported))
	of("keep-alive-enabled", ") -> result<bool, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		on := borrowSocket(in).keepAlive
		out.OK()
		out.Bool(on)
	})
	of("set-keep-alive-enabled", ", value: bool) -> result<_, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		borrowSocket(in).keepAlive = in.Bool()
		out.OK()
	})
	option(of, "keep-alive-idle-time", func(s *socket) *uint64 { return &s.options[0] })
	option(of, "keep-alive-interval", func(s *socket) *uint64 { return &s.options[1] })
	option(of, "receive-buffer-size", func(s *socket) *uint64 { return &s.options[2] })
	option(of, "send-buffer-size", func(s *socket) *uint64 { return &s.options[3] })
	of("keep-alive-count", ") -> result<u32, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		n := borrowSocket(in).count
		out.OK()
		out.U32(n)
	})
	of("set-keep-alive-count", ", value: u32) -> result<_, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		s, n := borrowSocket(in), in.U32()
		if n == 0 {
			socketInvalid.write(out)
			return
		}
		s.count = n
		out.OK()
	})
	of("hop-limit", ") -> result<u8, error-code>", refuseSocket(socketNotSupported))
	of("set-hop-limit", ", value: u8) -> result<_, error-code>", refuseSocket(socketNotSupported))
	of("subscribe", ") -> own<pollable>", subscribe[*socket])
	of("shutdown", ", shutdown-type: shutdown-type) -> result<_, error-code>", shutdown)
	return i
}

// option adds the two functions of an option that is a hint: it is kept, and read back, and the connection keeps to those of the platform.
func option(of func(name, t string, call canon.HostFunc), name string, field func(*socket) *uint64) {
	of(name, ") -> result<u64, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		v := *field(borrowSocket(in))
		out.OK()
		out.U64(v)
	})
	of("set-"+name, ", value: u64) -> result<_, error-code>", func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		to, v := field(borrowSocket(in)), in.U64()
		if v == 0 {
			socketInvalid.write(out)
			return
		}
		*to = v
		out.OK()
	})
}

// socket is a tcp-socket: it has not begun to connect, connects, or has come to a connection or an error.
type socket struct {
	system    *System
	six       bool // IPv6
	keepAlive bool
	count     uint32
	options   [4]uint64
	remote    netip.AddrPort // valid once it has begun
	cancel    context.CancelFunc
	finished  bool // the guest has taken the connection or the error
	input     *socketInput
	output    *sent

	mu   sync.Mutex // guards what follows
	over bool       // of the attempt
	gone bool       // the handle was dropped
	conn net.Conn
	err  error
}

func borrowSocket(in *canon.Reader) *socket { return canon.Borrow[*socket](in) }

func createSocket(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	s, family := system(c), in.Enum()
	if s.Call == nil || s.Call.Gate() == nil {
		socketDenied.write(out)
		return
	}
	if !s.admit() {
		socketLimit.write(out)
		return
	}
	out.OK()
	out.Own(&socket{system: s, six: family == 1, count: 9, options: [4]uint64{7200e9, 75e9, piece, piece}})
}

// ready tells whether the attempt to connect, if there is one, is over.
func (s *socket) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancel == nil || s.over
}

// drop implements dropper.
func (s *socket) drop() {
	s.system.open--
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.cancel != nil {
		s.cancel()
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func startConnect(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	s := borrowSocket(in)
	canon.Borrow[theNetwork](in)
	doneSocket(out, s.start(c, readAddress(in)))
}

// start decides on the guest's goroutine and connects beside it.
func (s *socket) start(c *canon.Call, to netip.AddrPort) socketError {
	switch a := to.Addr(); {
	case s.cancel != nil:
		return socketState
	case a.Is6() != s.six || a.Is4In6() || a.IsUnspecified() || to.Port() == 0:
		return socketInvalid
	}
	s.system.Call.Calls(connectName)
	ctx, cancel := context.WithCancel(c.Context())
	dial, err := s.system.Call.Gate().TCP(ctx, to)
	if err != nil {
		cancel()
		return socketFailed(err)
	}
	s.cancel, s.remote = cancel, to
	go s.connect(ctx, dial) // ends with the attempt, which the socket's drop cancels
	return socketFine
}

func (s *socket) connect(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	conn, err := dial(ctx)
	s.mu.Lock()
	s.over, s.conn, s.err = true, conn, err
	if s.gone && conn != nil {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.system.progress()
}

func finishConnect(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	s := borrowSocket(in)
	switch {
	case s.cancel == nil || s.finished:
		socketNotInProgress.write(out)
		return
	case !s.ready():
		socketWouldBlock.write(out)
		return
	}
	s.finished = true
	if s.err != nil {
		socketFailed(s.system.Call.Gate().Report(s.err)).write(out)
		return
	}
	wrap := func(err error) error { return socketFailed(err) }
	s.input = &socketInput{fetched{system: s.system, name: connectName, from: s.conn, wrap: wrap}, false}
	s.output = &sent{call: s.system.Call, system: s.system, name: connectName, to: s.conn, wrap: wrap}
	out.OK()
	out.Own(input(s.input))
	out.Own(output(s.output))
}

// connected tells whether the guest has taken a connection.
func (s *socket) connected() bool { return s.input != nil }

// socketInput is what a socket receives, until that is shut down.
type socketInput struct {
	fetched
	shut bool
}

func (i *socketInput) ready() bool { return i.shut || i.fetched.ready() }

func (i *socketInput) read(most int) ([]byte, error) {
	if i.shut {
		return nil, io.EOF
	}
	return i.fetched.read(most)
}

func shutdown(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	s, how := borrowSocket(in), in.Enum()
	if !s.connected() {
		socketState.write(out)
		return
	}
	if how != 1 {
		s.input.shut = true
	}
	if how != 0 {
		s.output.shutdown()
	}
	out.OK()
}

// localAddress tells the port alone: which addresses the platform has is not the guest's to know.
func localAddress(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	s := borrowSocket(in)
	if !s.connected() {
		socketState.write(out)
		return
	}
	local := netip.IPv4Unspecified()
	if s.six {
		local = netip.IPv6Unspecified()
	}
	var port uint16
	if a, ok := s.conn.LocalAddr().(*net.TCPAddr); ok {
		port = uint16(a.Port)
	}
	out.OK()
	writeAddress(out, netip.AddrPortFrom(local, port))
}

func remoteAddress(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	s := borrowSocket(in)
	if !s.connected() {
		socketState.write(out)
		return
	}
	out.OK()
	writeAddress(out, s.remote)
}

func addressFamily(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	if borrowSocket(in).six {
		out.Enum(1)
		return
	}
	out.Enum(0)
}

// socketFailed finds the error-code of what the Gate or the network says.
func socketFailed(err error) socketError {
	var (
		denied  *outbound.Denied
		network net.Error
	)
	switch {
	case errors.As(err, &denied), errors.Is(err, outbound.ErrProhibited):
		return socketDenied
	case errors.Is(err, outbound.ErrInvalidAddress):
		return socketInvalid
	case errors.Is(err, syscall.ECONNREFUSED):
		return socketRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF):
		return socketReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return socketUnreachable
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return socketTimeout
	}
	return socketUnknown
}
