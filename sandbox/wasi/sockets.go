package wasi

import (
	"errors"
	"net/netip"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

var socketTypes = map[string]string{
	"error-code": "enum<unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout, concurrency-conflict, not-in-progress, would-block, " +
		"invalid-state, new-socket-limit, address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset, connection-aborted, " +
		"datagram-too-large, name-unresolvable, temporary-resolver-failure, permanent-resolver-failure>",
	"ip-address-family":   "enum<ipv4, ipv6>",
	"ipv4-address":        "tuple<u8, u8, u8, u8>",
	"ipv6-address":        "tuple<u16, u16, u16, u16, u16, u16, u16, u16>",
	"ip-address":          "variant<ipv4(ipv4-address), ipv6(ipv6-address)>",
	"ip-socket-address":   "variant<ipv4(record<port: u16, address: ipv4-address>), ipv6(record<port: u16, flow-info: u32, address: ipv6-address, scope-id: u32>)>",
	"shutdown-type":       "enum<receive, send, both>",
	"incoming-datagram":   "record<data: list<u8>, remote-address: ip-socket-address>",
	"outgoing-datagram":   "record<data: list<u8>, remote-address: option<ip-socket-address>>",
	"incoming-and-output": "tuple<own<incoming-datagram-stream>, own<outgoing-datagram-stream>>",
}

// socketInterfaces are wasi:sockets: TCP to where the invocation's Gate lets it. There is no listening, no UDP, and no look-up of names.
func socketInterfaces() []host.Interface {
	network := host.Interface{Name: "wasi:sockets/network" + version, Types: socketTypes, Resources: drops("network", "error"), Funcs: map[string]host.Func{
		"network-error-code": {Type: "func(err: borrow<error>) -> option<error-code>", Call: networkErrorCode},
	}}
	instance := host.Interface{Name: "wasi:sockets/instance-network" + version, Resources: drops("network"), Funcs: map[string]host.Func{
		"instance-network": {Type: "func() -> own<network>", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(theNetwork{}) }},
	}}
	lookup := host.Interface{
		Name: "wasi:sockets/ip-name-lookup" + version, Types: socketTypes, Resources: drops("resolve-address-stream", "network", "pollable"),
		Funcs: map[string]host.Func{
			"resolve-addresses": {Type: "func(network: borrow<network>, name: string) -> result<own<resolve-address-stream>, error-code>", Call: resolveAddresses},
			"[method]resolve-address-stream.resolve-next-address": {
				Type: "func(self: borrow<resolve-address-stream>) -> result<option<ip-address>, error-code>", Call: resolveNext,
			},
			"[method]resolve-address-stream.subscribe": {Type: "func(self: borrow<resolve-address-stream>) -> own<pollable>", Call: subscribe[*resolved]},
		},
	}
	return append([]host.Interface{network, instance, lookup, tcpInterface(), udpInterface()},
		host.Interface{Name: "wasi:sockets/tcp-create-socket" + version, Types: socketTypes, Resources: drops("tcp-socket", "network"), Funcs: map[string]host.Func{
			"create-tcp-socket": {Type: "func(address-family: ip-address-family) -> result<own<tcp-socket>, error-code>", Call: createSocket},
		}},
		host.Interface{Name: "wasi:sockets/udp-create-socket" + version, Types: socketTypes, Resources: drops("udp-socket", "network"), Funcs: map[string]host.Func{
			"create-udp-socket": {Type: "func(address-family: ip-address-family) -> result<own<udp-socket>, error-code>", Call: refuseSocket(socketDenied)},
		}})
}

// udpInterface is what nobody can call, because nobody is given a socket.
func udpInterface() host.Interface {
	i := host.Interface{
		Name: "wasi:sockets/udp" + version, Types: socketTypes, Funcs: map[string]host.Func{},
		Resources: drops("udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream", "network", "pollable"),
	}
	for name, t := range map[string]string{
		"udp-socket.start-bind":              ", network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>",
		"udp-socket.finish-bind":             ") -> result<_, error-code>",
		"udp-socket.stream":                  ", remote-address: option<ip-socket-address>) -> result<incoming-and-output, error-code>",
		"udp-socket.local-address":           ") -> result<ip-socket-address, error-code>",
		"udp-socket.remote-address":          ") -> result<ip-socket-address, error-code>",
		"udp-socket.address-family":          ") -> ip-address-family",
		"udp-socket.unicast-hop-limit":       ") -> result<u8, error-code>",
		"udp-socket.set-unicast-hop-limit":   ", value: u8) -> result<_, error-code>",
		"udp-socket.receive-buffer-size":     ") -> result<u64, error-code>",
		"udp-socket.set-receive-buffer-size": ", value: u64) -> result<_, error-code>",
		"udp-socket.send-buffer-size":        ") -> result<u64, error-code>",
		"udp-socket.set-send-buffer-size":    ", value: u64) -> result<_, error-code>",
		"udp-socket.subscribe":               ") -> own<pollable>",
	} {
		i.Funcs["[method]"+name] = host.Func{Type: "func(self: borrow<udp-socket>" + t, Call: noDatagrams}
	}
	const from, to = "[method]incoming-datagram-stream.", "[method]outgoing-datagram-stream."
	i.Funcs[from+"receive"] = host.Func{Type: "func(self: borrow<incoming-datagram-stream>, max-results: u64) -> result<list<incoming-datagram>, error-code>", Call: noDatagrams}
	i.Funcs[from+"subscribe"] = host.Func{Type: "func(self: borrow<incoming-datagram-stream>) -> own<pollable>", Call: noDatagrams}
	i.Funcs[to+"check-send"] = host.Func{Type: "func(self: borrow<outgoing-datagram-stream>) -> result<u64, error-code>", Call: noDatagrams}
	i.Funcs[to+"send"] = host.Func{Type: "func(self: borrow<outgoing-datagram-stream>, datagrams: list<outgoing-datagram>) -> result<u64, error-code>", Call: noDatagrams}
	i.Funcs[to+"subscribe"] = host.Func{Type: "func(self: borrow<outgoing-datagram-stream>) -> own<pollable>", Call: noDatagrams}
	return i
}

func noDatagrams(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
	in.Skip()
	canon.Trapf("there is no UDP here")
}

// theNetwork is the object of network.
type theNetwork struct{}

// socketError is a case of error-code.
type socketError int

const (
	socketUnknown       socketError = 0
	socketDenied        socketError = 1
	socketNotSupported  socketError = 2
	socketInvalid       socketError = 3
	socketTimeout       socketError = 5
	socketNotInProgress socketError = 7
	socketWouldBlock    socketError = 8
	socketState         socketError = 9
	socketLimit         socketError = 10
	socketUnreachable   socketError = 13
	socketRefused       socketError = 14
	socketReset         socketError = 15
	socketFine          socketError = -1
)

// Error makes it an error of a stream.
func (e socketError) Error() string {
	switch e {
	case socketTimeout:
		return "the connection timed out"
	case socketReset:
		return "the connection was reset"
	}
	return "the connection has failed"
}

func (e socketError) write(out *canon.Writer) {
	out.Err()
	out.Enum(int(e))
}

func doneSocket(out *canon.Writer, e socketError) {
	if e != socketFine {
		e.write(out)
		return
	}
	out.OK()
}

func refuseSocket(e socketError) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		in.Skip()
		e.write(out)
	}
}

func networkErrorCode(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	var e socketError
	if !errors.As(canon.Borrow[*failure](in).err, &e) {
		out.None()
		return
	}
	out.Some()
	out.Enum(int(e))
}

// readAddress reads an ip-socket-address.
func readAddress(in *canon.Reader) netip.AddrPort {
	if in.Case() == 0 {
		port := in.U16()
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{in.U8(), in.U8(), in.U8(), in.U8()}), port)
	}
	port := in.U16()
	in.U32()
	var b [16]byte
	for i := range 8 {
		part := in.U16()
		b[2*i], b[2*i+1] = byte(part>>8), byte(part)
	}
	in.U32()
	return netip.AddrPortFrom(netip.AddrFrom16(b), port)
}

// writeAddress writes an ip-socket-address.
func writeAddress(out *canon.Writer, a netip.AddrPort) {
	if a.Addr().Is4() {
		out.Case(0)
		out.U16(a.Port())
		writeIP(out, a.Addr())
		return
	}
	out.Case(1)
	out.U16(a.Port())
	out.U32(0)
	writeIP(out, a.Addr())
	out.U32(0)
}

// writeIP writes an ipv4-address or ipv6-address.
func writeIP(out *canon.Writer, a netip.Addr) {
	if a.Is4() {
		for _, b := range a.As4() {
			out.U8(b)
		}
		return
	}
	b := a.As16()
	for i := range 8 {
		out.U16(uint16(b[2*i])<<8 | uint16(b[2*i+1]))
	}
}

// resolved is the answer to a look-up: a name that is an address.
type resolved struct{ left []netip.Addr }

func (*resolved) ready() bool { return true }

// resolveAddresses takes addresses that are written as such alone.
func resolveAddresses(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	canon.Borrow[theNetwork](in)
	a, err := netip.ParseAddr(in.String())
	if err != nil || a.Zone() != "" {
		socketNotSupported.write(out)
		return
	}
	out.OK()
	out.Own(&resolved{[]netip.Addr{a.Unmap()}})
}

func resolveNext(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	r := canon.Borrow[*resolved](in)
	out.OK()
	if len(r.left) == 0 {
		out.None()
		return
	}
	a := r.left[0]
	r.left = r.left[1:]
	out.Some()
	if a.Is4() {
		out.Case(0)
	} else {
		out.Case(1)
	}
	writeIP(out, a)
}
