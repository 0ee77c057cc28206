package abi

import "runtime"

//go:wasmimport wasi-outbound-http request
func httpRequest(method uint32, uri string, headers *view, nHeaders uint32, params *view, nParams uint32, hasBody uint32, body string, ret *area)

// HTTP sends one request. The second result is 0 or a case of the ABI's error.
func HTTP(r Request) (Response, uint8) {
	flat := make([]string, 0, 2*len(r.Header)) // tuple<string, string> lies in memory as two strings
	for _, h := range r.Header {
		flat = append(flat, h[0], h[1])
	}
	hasBody := uint32(0)
	if r.Body != nil {
		hasBody = 1
	}
	ret := new(area)
	httpRequest(uint32(r.Method), r.URL, lend(flat), uint32(len(r.Header)), nil, 0, hasBody, text(r.Body), ret)
	unlend()
	runtime.KeepAlive(r)
	if ret.failed() {
		return Response{}, max(ret.u8(4), 1)
	}
	out := Response{Status: ret.u16(4)}
	if ret.u8(8) != 0 {
		out.Header = ret.pairs(12)
	}
	if ret.u8(20) != 0 {
		out.Body = ret.bytes(24)
	}
	return out, 0
}
