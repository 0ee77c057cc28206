package wasi

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

var httpTypes = map[string]string{
	"method":                     "variant<get, head, post, put, delete, connect, options, trace, patch, other(string)>",
	"scheme":                     "variant<HTTP, HTTPS, other(string)>",
	"DNS-error-payload":          "record<rcode: option<string>, info-code: option<u16>>",
	"TLS-alert-received-payload": "record<alert-id: option<u8>, alert-message: option<string>>",
	"field-size-payload":         "record<field-name: option<string>, field-size: option<u32>>",
	"header-error":               "variant<invalid-syntax, forbidden, immutable>",
	"error-code": "variant<DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable, destination-IP-prohibited, " +
		"destination-IP-unroutable, connection-refused, connection-terminated, connection-timeout, connection-read-timeout, connection-write-timeout, " +
		"connection-limit-reached, TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload), HTTP-request-denied, " +
		"HTTP-request-length-required, HTTP-request-body-size(option<u64>), HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long, " +
		"HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<field-size-payload>), HTTP-request-trailer-section-size(option<u32>), " +
		"HTTP-request-trailer-size(field-size-payload), HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>), " +
		"HTTP-response-header-size(field-size-payload), HTTP-response-body-size(option<u64>), HTTP-response-trailer-section-size(option<u32>), " +
		"HTTP-response-trailer-size(field-size-payload), HTTP-response-transfer-coding(option<string>), HTTP-response-content-coding(option<string>), " +
		"HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error, loop-detected, configuration-error, internal-error(option<string>)>",
}

// httpInterfaces are wasi:http without incoming-handler, which a component exports. Nobody calls a component with an HTTP request, so what is for
// answering one traps: incoming-request, response-outparam and outgoing-response.
func httpInterfaces() []host.Interface {
	i := host.Interface{
		Name: "wasi:http/types" + version, Types: httpTypes, Funcs: map[string]host.Func{},
		Resources: drops("fields", "incoming-request", "outgoing-request", "request-options", "response-outparam", "incoming-response", "incoming-body",
			"future-trailers", "outgoing-response", "outgoing-body", "future-incoming-response", "input-stream", "output-stream", "error", "pollable"),
	}
	fieldsFuncs(i.Funcs)
	requestFuncs(i.Funcs)
	responseFuncs(i.Funcs)
	for name, t := range map[string]string{
		"[method]incoming-request.method":              "func(self: borrow<incoming-request>) -> method",
		"[method]incoming-request.path-with-query":     "func(self: borrow<incoming-request>) -> option<string>",
		"[method]incoming-request.scheme":              "func(self: borrow<incoming-request>) -> option<scheme>",
		"[method]incoming-request.authority":           "func(self: borrow<incoming-request>) -> option<string>",
		"[method]incoming-request.headers":             "func(self: borrow<incoming-request>) -> own<fields>",
		"[method]incoming-request.consume":             "func(self: borrow<incoming-request>) -> result<own<incoming-body>>",
		"[method]response-outparam.send-informational": "func(self: borrow<response-outparam>, status: u16, headers: own<fields>) -> result<_, error-code>",
		"[static]response-outparam.set":                "func(param: own<response-outparam>, response: result<own<outgoing-response>, error-code>)",
		"[constructor]outgoing-response":               "func(headers: own<fields>) -> own<outgoing-response>",
		"[method]outgoing-response.status-code":        "func(self: borrow<outgoing-response>) -> u16",
		"[method]outgoing-response.set-status-code":    "func(self: borrow<outgoing-response>, status-code: u16) -> result",
		"[method]outgoing-response.headers":            "func(self: borrow<outgoing-response>) -> own<fields>",
		"[method]outgoing-response.body":               "func(self: borrow<outgoing-response>) -> result<own<outgoing-body>>",
	} {
		i.Funcs[name] = host.Func{Type: t, Call: noRequests}
	}
	return []host.Interface{i, {
		Name: "wasi:http/outgoing-handler" + version, Types: httpTypes, Resources: drops("outgoing-request", "request-options", "future-incoming-response"),
		Funcs: map[string]host.Func{
			"handle": {Type: "func(request: own<outgoing-request>, options: option<own<request-options>>) -> result<own<future-incoming-response>, error-code>", Call: handle},
		},
	}}
}

func noRequests(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
	in.Skip()
	canon.Trapf("there is no HTTP request to answer: the component handles messages")
}
