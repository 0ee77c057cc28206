package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// httpInterfaces are the outbound HTTP of Spin 1; that of wasi:http is in package wasi.
func httpInterfaces() []host.Interface {
	const name = "fermyon:spin/http"
	return []host.Interface{{
		Name: name,
		Types: map[string]string{
			"headers":    "list<tuple<string, string>>",
			"method":     "enum<get, post, put, delete, patch, head, options>",
			"request":    "record<method: method, uri: string, headers: headers, params: headers, body: option<list<u8>>>",
			"response":   "record<status: u16, headers: option<headers>, body: option<list<u8>>>",
			"http-error": "enum<success, destination-not-allowed, invalid-url, request-error, runtime-error, too-many-requests>",
		},
		Funcs: map[string]host.Func{"send-request": {Type: "func(req: request) -> result<response, http-error>", Call: waiting(name+"#send-request", sendRequest)}},
	}}
}

// sendRequest is httpRequest for components.
func sendRequest(g *caller, in *canon.Reader) work {
	method, uri, headers := methods[in.Enum()], g.text(in), g.texts2(in, "headers")
	g.texts2(in, "params")
	var body []byte
	if in.Option() {
		body = g.content(in)
	}
	return func(g *caller) answer {
		r, code := g.exchange(method, uri, headers, body)
		return func(out *canon.Writer) {
			if code != 0 {
				out.Err()
				out.Enum(int(code))
				return
			}
			out.OK()
			out.U16(uint16(r.status))
			out.Some()
			out.List(len(r.headers))
			for _, h := range r.headers {
				out.String(h[0])
				out.String(h[1])
			}
			out.Some()
			out.Bytes(r.body)
		}
	}
}

// texts2 reads a list of pairs of strings.
func (g *caller) texts2(in *canon.Reader, what string) [][2]string {
	all := make([][2]string, g.length(in, what))
	for i := range all {
		all[i] = [2]string{g.text(in), g.text(in)}
	}
	return all
}
