package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tenloom/tenloom/deploy/api"
)

// book is the OpenAPI document, with its schemas made strict: an answer that has a field the document does not know is a fault of one of them.
type book struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Parameters map[string]parameter
	}
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	driven  map[string]bool // operations that gave a good answer
	schemas map[string]*jsonschema.Schema
}

type parameter struct {
	Ref    string `json:"$ref"`
	Name   string
	In     string
	Schema map[string]any
}

type operation struct {
	OperationID string
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct{ Schema map[string]any }
	}
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]json.RawMessage
	}
}

const bookURL = "https://tenloom.test/openapi.json"

var openBook = sync.OnceValues(func() (*book, error) {
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		return nil, err
	}
	b := &book{driven: map[string]bool{}, schemas: map[string]*jsonschema.Schema{}, compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	strict(doc.(map[string]any)["components"].(map[string]any)["schemas"])
	b.compiler.DefaultDraft(jsonschema.Draft2020)
	b.compiler.AssertFormat()
	delete(doc.(map[string]any), "jsonSchemaDialect")
	return b, b.compiler.AddResource(bookURL, doc)
})

// strict refuses properties that a schema does not name.
func strict(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if _, object := s["properties"].(map[string]any); object && s["additionalProperties"] == nil && s["type"] == "object" {
			s["additionalProperties"] = false
		}
		for _, v := range s {
			strict(v)
		}
	case []any:
		for _, v := range s {
			strict(v)
		}
	}
}

func readBook(t testing.TB) *book {
	t.Helper()
	b, err := openBook()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *book) operation(path, method string) (o operation, ok bool) {
	raw, ok := b.Paths[path][strings.ToLower(method)]
	if ok {
		ok = json.Unmarshal(raw, &o) == nil
	}
	return o, ok
}

// find gives the path of the document that a request is for.
func (b *book) find(method, path string) string {
	if u, err := url.Parse(path); err == nil {
		path = u.EscapedPath()
	}
	best := ""
	for pattern := range b.Paths {
		if _, ok := b.operation(pattern, method); ok && fits(pattern, path) && (best == "" || strings.Count(pattern, "{") < strings.Count(best, "{") || len(pattern) > len(best) && strings.Count(pattern, "{") == strings.Count(best, "{")) {
			best = pattern
		}
	}
	return best
}

func fits(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if strings.HasSuffix(pattern, "/{topic}") && len(have) > len(want) { // of which a name may have several segments
		have = have[:len(want)]
	}
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		name, verb, _ := strings.Cut(want[i], "}")
		if !strings.HasPrefix(name, "{") {
			if want[i] != have[i] {
				return false
			}
		} else if have[i] == "" || !strings.HasSuffix(have[i], verb) || len(have[i]) <= len(verb) {
			return false
		}
	}
	return true
}

func (b *book) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.schemas[pointer]; s != nil {
		return s
	}
	s, err := b.compiler.Compile(bookURL + "#" + pointer)
	if err != nil {
		t.Fatalf("%s: %v", pointer, err)
	}
	b.schemas[pointer] = s
	return s
}

// check holds an answer against the document.
func (b *book) check(t testing.TB, method, path string, r reply) {
	t.Helper()
	pattern := b.find(method, path)
	if pattern == "" {
		if r.status != http.StatusNotFound && r.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in the document and answers %d", method, path, r.status)
		}
		return
	}
	o, _ := b.operation(pattern, method)
	kind, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	response, good := o.Responses[fmt.Sprint(r.status)]
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace
	pointer := "/paths/" + escaped(pattern) + "/" + strings.ToLower(method) + fmt.Sprintf("/responses/%d/content/", r.status) + escaped(kind) + "/schema"
	switch {
	case !good && r.status < 400:
		t.Errorf("%s %s answers %d, which the document does not have", method, pattern, r.status)
		return
	case !good:
		pointer = "/components/schemas/Problem"
		if kind != "application/problem+json" {
			t.Errorf("%s %s answers %d with %q", method, pattern, r.status, kind)
			return
		}
	case len(response.Content) == 0:
		if r.body != "" {
			t.Errorf("%s %s answers %d with a body", method, pattern, r.status)
		}
	default:
		if _, ok := response.Content[kind]; !ok {
			t.Errorf("%s %s answers %d with %q, which the document does not have", method, pattern, r.status, kind)
			return
		}
	}
	if good {
		b.mu.Lock()
		b.driven[method+" "+pattern] = true
		b.mu.Unlock()
	}
	if r.body == "" || kind != "application/json" && kind != "application/problem+json" {
		return
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		t.Errorf("%s %s: %v", method, pattern, err)
		return
	}
	if err := b.schema(t, pointer).Validate(v); err != nil {
		t.Errorf("%s %s %d: %v\n%.500s", method, pattern, r.status, err, r.body)
	}
}

// The document and the router have the same routes.
func TestDocumentHasEveryRoute(t *testing.T) {
	b, h := readBook(t), build(t)
	have := map[string]bool{}
	for _, rt := range api.Routes(h.config()) {
		have[rt.Method+" "+rt.Path] = true
		if _, ok := b.operation(rt.Path, rt.Method); !ok {
			t.Errorf("the document has no %s %s", rt.Method, rt.Path)
		}
	}
	ids := map[string]string{}
	for path, item := range b.Paths {
		for method := range item {
			name := strings.ToUpper(method) + " " + path
			o, _ := b.operation(path, method)
			if method == "parameters" {
				continue
			}
			if !have[name] {
				t.Errorf("there is no %s", name)
			}
			if ids[o.OperationID] != "" || o.OperationID == "" {
				t.Errorf("%s and %s are both %q", name, ids[o.OperationID], o.OperationID)
			}
			ids[o.OperationID] = name
		}
	}
	if r := h.do("GET", "/v1/openapi.json", ""); r.status != 200 || !json.Valid([]byte(r.body)) {
		t.Errorf("%d", r.status)
	}
}

// Every route gives a good answer once, and it is as the document says.
func TestDocumentIsTrue(t *testing.T) {
	b, h := readBook(t), build(t)
	b.mu.Lock()
	clear(b.driven)
	b.mu.Unlock()
	for _, path := range []string{"/healthz", "/readyz?verbose", "/version", "/v1/openapi.json"} {
		b.check(t, "GET", path, h.do("GET", path, ""))
	}
	do := func(who, method, path, body string, header ...string) reply {
		t.Helper()
		r := h.as(who, method, path, body, header...)
		if r.status >= 400 {
			t.Errorf("%s %s: %d %s", method, path, r.status, r.body)
		}
		return r
	}
	do("operator", "POST", "/v1/tenants", `{"name":"new","policy":{}}`)
	do("operator", "GET", "/v1/tenants", "")
	do("operator", "GET", "/v1/audit", "")
	do("owner", "GET", "/v1/whoami", "")
	do("owner", "GET", "/v1/tenants/acme", "")
	do("operator", "PATCH", "/v1/tenants/new", `{"title":"x"}`, "If-Match", "*")
	do("operator", "PUT", "/v1/tenants/new/policy", `{}`, "If-Match", "*")
	do("operator", "POST", "/v1/tenants/new:suspend", "")
	do("operator", "POST", "/v1/tenants/new:resume", "")
	do("operator", "DELETE", "/v1/tenants/new", "")
	do("viewer", "GET", "policy", "")
	do("owner", "PUT", "members/ann", `{"role":"viewer"}`)
	do("owner", "GET", "members/ann", "")
	do("owner", "GET", "members", "")
	do("owner", "DELETE", "members/ann", "")
	var made struct{ ID string }
	mustDecode(t, do("operator", "POST", "tokens", `{"name":"x","role":"viewer"}`).body, &made)
	do("owner", "GET", "tokens", "")
	do("owner", "GET", "tokens/"+made.ID, "")
	do("owner", "DELETE", "tokens/"+made.ID, "")
	mustDecode(t, do("operator", "POST", "/v1/tokens", `{"name":"second"}`).body, &made)
	do("operator", "GET", "/v1/tokens", "")
	do("operator", "GET", "/v1/tokens/"+made.ID, "")
	do("operator", "DELETE", "/v1/tokens/"+made.ID, "")
	do("owner", "PUT", "connections/main", `{"address":"redis://h"}`)
	do("owner", "GET", "connections/main", "")
	do("owner", "GET", "connections", "")
	do("owner", "POST", "connections/main:test", "")
	do("owner", "DELETE", "connections/main", "")
	for _, method := range []string{"POST", "PUT"} {
		do("deployer", method, "/v1.0/bindings/main", `{"operation":"create","data":1,"metadata":{"key":"k"}}`)
		do("deployer", method, "/v1.0/publish/main/orders/new", `{"a":1}`)
		do("deployer", method, "/v1.0/publish/bulk/main/orders", `[{"entryId":"1","event":"x","contentType":"text/plain"}]`)
	}
	for _, noun := range []string{"variables", "secrets"} {
		name := "apps/mailer/" + noun + "/" + noun
		do("deployer", "PUT", name, `{"value":"x"}`)
		do("deployer", "GET", name, "")
		do("deployer", "GET", "apps/mailer/"+noun, "")
		do("deployer", "DELETE", name, "")
	}
	do("deployer", "PUT", "apps/second", "")
	do("deployer", "PATCH", "apps/second", `{"paused":true}`, "If-Match", "*")
	do("deployer", "POST", "apps/second:resume", "")
	do("deployer", "POST", "apps/second:pause", "{}")
	do("owner", "DELETE", "apps/second", "")
	one, two := h.version("orders", module("one")), h.version("orders", module("two"))
	do("deployer", "HEAD", "apps/mailer/blobs/"+sum(module("one")), "")
	do("deployer", "POST", "apps/mailer/versions?validate=only", versionBody(spin("c"), sum(module("one"))))
	begun := do("deployer", "POST", "apps/mailer/deployments", fmt.Sprintf(`{"version":%d}`, one), "Prefer", "wait=30")
	var deployed struct{ Operation string }
	mustDecode(t, begun.body, &deployed)
	do("deployer", "GET", "/v1/operations/"+deployed.Operation, "")
	do("deployer", "GET", "/v1/operations/"+deployed.Operation+"/events", "")
	do("deployer", "DELETE", fmt.Sprintf("apps/mailer/versions/%d", two), "")
	do("viewer", "GET", "apps/mailer/versions/1", "")
	do("viewer", "GET", "apps/mailer/versions", "")
	do("viewer", "GET", "apps/mailer/deployments/current", "")
	do("viewer", "GET", "apps/mailer/deployments", "")
	do("viewer", "GET", "apps", "")
	do("viewer", "GET", "apps/mailer", "")
	var triggers struct{ Data []struct{ ID string } }
	mustDecode(t, do("viewer", "GET", "apps/mailer/triggers", "").body, &triggers)
	do("deployer", "POST", "apps/mailer/triggers/"+url.PathEscape(triggers.Data[0].ID)+":pause", "")
	do("deployer", "POST", "apps/mailer/triggers/"+url.PathEscape(triggers.Data[0].ID)+":resume", "")
	do("deployer", "POST", "messages", `{"channel":"c","wait":"0s"}`)
	for _, path := range []string{"usage", "channels", "subscriptions", "triggers", "invocations", "apps/mailer/invocations", "apps/mailer/logs"} {
		do("viewer", "GET", path, "")
	}
	do("operator", "GET", "/metrics", "")
	do("owner", "GET", "audit", "")
	b.mu.Lock()
	defer b.mu.Unlock()
	// What a cancel stops is over before a test can; a subscription has tests of its own; an invocation takes a Redis.
	apart := []string{"POST /v1/tenants/{tenant}/apps/{app}/deployments/{deployment}:cancel", "GET /v1/tenants/{tenant}/messages:subscribe", "GET /v1/tenants/{tenant}/invocations/{id}"}
	for _, rt := range api.Routes(h.config()) {
		if name := rt.Method + " " + rt.Path; !b.driven[name] && !slices.Contains(apart, name) {
			t.Errorf("%s gave no good answer", name)
		}
	}
}

// Requests made of the document, and of what is near it: every answer is one that the document has, and none is the platform's fault.
func TestDocumentFuzz(t *testing.T) {
	b, h := readBook(t), build(t)
	h.version("orders", module("one"))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := &fuzzer{rand.New(rand.NewPCG(seed, 1)), b}
	for range 8 {
		for _, path := range slices.Sorted(maps.Keys(b.Paths)) {
			for _, method := range slices.Sorted(maps.Keys(b.Paths[path])) {
				o, ok := b.operation(path, method)
				if !ok || method == "parameters" || strings.HasSuffix(path, ":subscribe") || method == "delete" && path == "/v1/tenants/{tenant}" {
					continue
				}
				req, body := f.request(method, path, o)
				req.Header.Set("Authorization", "Bearer "+h.tokens[[]string{"operator", "owner", "viewer"}[f.IntN(3)]])
				w := httptest.NewRecorder()
				h.api.ServeHTTP(w, req)
				text := w.Body.String()
				if method == "head" {
					text = ""
				}
				if w.Code >= 500 && !strings.HasPrefix(path, "/v1.0/") { // where Dapr answers 500 for what is the caller's fault
					t.Errorf("%s %s %q: %d %s", method, req.URL, body, w.Code, text)
				}
				b.check(t, strings.ToUpper(method), req.URL.EscapedPath(), reply{w.Code, w.Header(), text})
			}
		}
	}
	if strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("%s", h.log)
	}
}

type fuzzer struct {
	*rand.Rand
	b *book
}

var words = []string{"acme", "mailer", "orders", "main", "1", "current", "smtp_host", "nowhere", "a b", "..", "%", "\x00", "ü", "{}", strings.Repeat("x", 300), "-1", "*", "a/b", "a:pause"}

func (f *fuzzer) word() string { return words[f.IntN(len(words))] }

func (f *fuzzer) request(method, path string, o operation) (*http.Request, string) {
	for _, segment := range strings.Split(path, "/") {
		if name, _, _ := strings.Cut(strings.TrimPrefix(segment, "{"), "}"); strings.HasPrefix(segment, "{") {
			value := map[string]string{"tenant": "acme", "app": "mailer", "digest": sum(module("one"))}[name]
			if value == "" || f.IntN(6) == 0 {
				value = f.word()
			}
			if value == ".." {
				value = "%2e%2e"
			} else {
				value = url.PathEscape(value)
			}
			path = strings.Replace(path, "{"+name+"}", value, 1)
		}
	}
	q := url.Values{}
	for _, p := range o.Parameters {
		if p.Ref != "" {
			p = f.b.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
		}
		if p.In == "query" && f.IntN(4) == 0 && p.Name != "follow" {
			q.Set(p.Name, f.word())
		}
	}
	if f.IntN(10) == 0 {
		q.Set(f.word(), f.word())
	}
	body := ""
	if c, ok := o.RequestBody.Content["application/json"]; ok {
		made, _ := json.Marshal(f.value(c.Schema, 0))
		if body = string(made); f.IntN(8) == 0 && len(body) > 0 {
			body = body[:f.IntN(len(body))]
		}
	}
	req := httptest.NewRequest(strings.ToUpper(method), path, strings.NewReader(body))
	req.URL.RawQuery = q.Encode()
	if f.IntN(2) == 0 {
		req.Header.Set("If-Match", []string{"*", `"x"`, "x"}[f.IntN(3)])
	}
	if f.IntN(4) == 0 {
		req.Header.Set("Idempotency-Key", f.word())
	}
	return req, body
}

// value makes one of a schema, or now and then one of another.
func (f *fuzzer) value(schema map[string]any, depth int) any {
	if ref, ok := schema["$ref"].(string); ok {
		raw, err := json.Marshal(f.b.component(ref))
		if err != nil || json.Unmarshal(raw, &schema) != nil {
			return nil
		}
	}
	if f.IntN(12) == 0 || depth > 5 {
		return []any{nil, true, 1, -1, 1e300, "", f.word(), []any{}, map[string]any{f.word(): f.word()}}[f.IntN(9)]
	}
	if all, ok := schema["enum"].([]any); ok {
		return all[f.IntN(len(all))]
	}
	switch schema["type"] {
	case "object":
		out := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for name, of := range properties {
			if of, ok := of.(map[string]any); ok && f.IntN(3) > 0 {
				out[name] = f.value(of, depth+1)
			}
		}
		if of, ok := schema["additionalProperties"].(map[string]any); ok {
			out[f.word()] = f.value(of, depth+1)
		}
		if f.IntN(10) == 0 {
			out[f.word()] = f.word()
		}
		return out
	case "array":
		of, _ := schema["items"].(map[string]any)
		return []any{f.value(of, depth+1)}
	case "integer":
		return f.IntN(200) - 10
	case "number":
		return f.Float64()
	case "boolean":
		return f.IntN(2) == 0
	}
	return f.word()
}

func (b *book) component(ref string) any {
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		return nil
	}
	var doc any
	if json.Unmarshal(text, &doc) != nil {
		return nil
	}
	for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		doc = doc.(map[string]any)[key]
	}
	return doc
}
