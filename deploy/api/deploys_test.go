package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// spin is a manifest of one component that listens to a channel.
func spin(channel string) string {
	return fmt.Sprintf("spin_manifest_version = 2\n[application]\nname = \"mailer\"\n[[trigger.redis]]\nchannel = %q\ncomponent = \"m\"\n[component.m]\nsource = \"m.wasm\"\n", channel)
}

func sum(b string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(b))) }

// module is bytes that begin as every module does.
func module(rest string) string { return "\x00asm\x01\x00\x00\x00" + rest }

func versionBody(manifest, digest string) string {
	b, err := json.Marshal(map[string]any{"manifest": manifest, "components": map[string]string{"m": digest}, "message": "first"})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// version uploads and creates a version and waits until it is ready.
func (h *house) version(channel, code string) int {
	h.t.Helper()
	h.ok("deployer", "PUT", "apps/mailer/blobs/"+sum(code), code)
	made := h.ok("deployer", "POST", "apps/mailer/versions", versionBody(spin(channel), sum(code)), "Prefer", "wait=30")
	v := made["version"].(map[string]any)
	if v["state"] != "ready" {
		h.t.Fatalf("%v", made)
	}
	return int(v["number"].(float64))
}

func TestBlobs(t *testing.T) {
	h := build(t)
	code := module("one")
	path := "apps/mailer/blobs/" + sum(code)
	if r := h.as("deployer", "HEAD", path, ""); r.status != 404 {
		t.Errorf("%d", r.status)
	}
	if r := h.as("deployer", "PUT", path, code); r.status != 201 || !strings.Contains(r.body, sum(code)) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := h.as("deployer", "HEAD", path, ""); r.status != 200 || r.header.Get("Content-Length") != fmt.Sprint(len(code)) {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := h.as("other deployer", "HEAD", "/v1/tenants/other/apps/secretapp/blobs/"+sum(code), ""); r.status != 404 {
		t.Errorf("another tenant is told what this one has: %d", r.status)
	}
	p := h.as("other deployer", "POST", "/v1/tenants/other/apps/secretapp/versions", versionBody(spin("c"), sum(code))).refused(t, 422, "artifact_missing")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/components/m" {
		t.Errorf("another tenant may run what this one has: %+v", p)
	}
	h.as("deployer", "PUT", "apps/mailer/blobs/"+sum("other"), code).refused(t, 422, "digest_mismatch")
	h.as("deployer", "PUT", "apps/mailer/blobs/sha256:x", code).refused(t, 400, "invalid_request")
	h.as("deployer", "PUT", "apps/mailer/blobs/..%2f..%2fetc", code).refused(t, 400, "invalid_request")
	h.ok("operator", "PUT", "policy", `{"grants":{"app_bytes":100}}`, "If-Match", h.etag("operator", "policy"))
	long := strings.Repeat("x", 101)
	if p := h.as("deployer", "PUT", "apps/mailer/blobs/"+sum(long), long).refused(t, 413, "too_large"); p.Limit != 100 {
		t.Errorf("%+v", p)
	}
}

// An upload that is cut off leaves nothing.
func TestUploadCutOff(t *testing.T) {
	h := build(t)
	code := module(strings.Repeat("x", 1000))
	for _, encoding := range []string{"Content-Length: 1008\r\n\r\n" + code[:500], "Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + code[:500]} {
		c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "PUT /v1/tenants/acme/apps/mailer/blobs/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s", sum(code), h.tokens["deployer"], encoding)
		c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		c.Close()
		if !strings.Contains(string(answer), "400 Bad Request") || !strings.Contains(string(answer), "incomplete_body") {
			t.Errorf("%s", answer)
		}
	}
	if _, err := h.blobs.Stat(t.Context(), sum(code)); err == nil {
		t.Error("something was left")
	}
}

func TestVersions(t *testing.T) {
	h := build(t)
	code := module("one")
	h.ok("deployer", "PUT", "apps/mailer/blobs/"+sum(code), code)
	body := versionBody(spin("orders"), sum(code))
	if v := h.ok("deployer", "POST", "apps/mailer/versions?validate=only", body); v["valid"] != true {
		t.Errorf("%v", v)
	}
	if l := h.ok("viewer", "GET", "apps/mailer/versions", ""); len(l["data"].([]any)) != 0 {
		t.Errorf("a dry run leaves %v", l)
	}
	r := h.as("deployer", "POST", "apps/mailer/versions", body)
	var made struct {
		Version   tenants.Version
		Unchanged bool
		Operation string
	}
	mustDecode(t, r.body, &made)
	if r.status != 202 || r.header.Get("Location") != "/v1/operations/"+made.Operation || made.Version.Number != 1 || made.Version.Message != "first" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	w := h.follow("deployer", "/v1/operations/"+made.Operation+"/events")
	for e := w.next(); !strings.Contains(e.data, `"state":"done"`); e = w.next() {
		if !strings.Contains(e.data, `"state":"running"`) {
			t.Fatalf("%+v", e)
		}
	}
	r = h.as("deployer", "POST", "apps/mailer/versions", body)
	if mustDecode(t, r.body, &made); r.status != 200 || !made.Unchanged {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, ref := range []string{"1", "v1", string(made.Version.Key), string(made.Version.Digest)} {
		if v := h.ok("viewer", "GET", "apps/mailer/versions/"+ref, ""); v["state"] != "ready" || v["number"] != 1.0 {
			t.Errorf("%s: %v", ref, v)
		}
	}
	h.as("viewer", "GET", "apps/mailer/versions/9", "").refused(t, 404, "not_found")
	h.as("viewer", "GET", "apps/mailer/versions/x%2f..", "").refused(t, 404, "not_found")
	h.ok("deployer", "DELETE", "apps/mailer/versions/1", "")
	h.as("deployer", "DELETE", "apps/mailer/versions/1", "").refused(t, 404, "not_found")
}

func TestVersionsRefused(t *testing.T) {
	h := build(t)
	code := module("broken")
	h.ok("deployer", "PUT", "apps/mailer/blobs/"+sum(code), code)
	h.as("deployer", "POST", "apps/mailer/versions", versionBody(spin("c"), sum(code)), "Prefer", "wait=30").refused(t, 422, "deploy_refused")
	p := h.as("deployer", "POST", "apps/mailer/versions", versionBody("spin_manifest_version = 2\ncolour = 1\nshape = 2\n", sum(code))).refused(t, 422, "invalid_manifest")
	if len(p.Errors) != 4 || !strings.Contains(p.Errors[2].Detail, "spin.toml:2:1") {
		t.Errorf("%+v", p.Errors)
	}
	if p := h.as("deployer", "POST", "apps/mailer/versions", versionBody(strings.Repeat("#\n", 1<<19), sum(code))).refused(t, 413, "too_large"); p.Limit != 256<<10 {
		t.Errorf("%+v", p)
	}
	p = h.as("deployer", "POST", "apps/mailer/versions", versionBody(spin("c"), sum("never"))).refused(t, 422, "artifact_missing")
	if p.Errors[0].Pointer != "/components/m" {
		t.Errorf("%+v", p.Errors)
	}
	p = h.as("deployer", "POST", "apps/mailer/versions", `{"manifst":"","git":{"shaa":1},"components":[]}`).refused(t, 400, "invalid_request")
	if len(p.Errors) != 3 {
		t.Errorf("%+v", p.Errors)
	}
	h.as("deployer", "POST", "apps/mailer/versions?validate=yes", "{}").refused(t, 400, "invalid_parameter")
	h.ok("operator", "PUT", "policy", `{"grants":{"deploys_per_minute":1}}`, "If-Match", h.etag("operator", "policy"))
	for range 20 {
		if r := h.as("deployer", "POST", "apps/mailer/versions", "{}"); r.status == 429 {
			if p := r.refused(t, 429, "rate_limited"); !strings.Contains(p.Next, "deploys_per_minute") || len(r.header.Values("RateLimit")) != 2 {
				t.Errorf("%+v %v", p, r.header)
			}
			return
		}
	}
	t.Error("no limit of deploys")
}

// One form has everything, so that curl alone can deploy.
func TestForm(t *testing.T) {
	h := build(t)
	form := func(parts ...string) (string, string) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for i := 0; i < len(parts); i += 2 {
			w, err := m.CreateFormFile(parts[i], "x")
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, parts[i+1])
		}
		m.Close()
		return b.String(), m.FormDataContentType()
	}
	post := func(body, kind string) reply {
		return h.as("deployer", "POST", "apps/mailer/versions", body, "Content-Type", kind, "Prefer", "wait=30")
	}
	r := post(form("manifest", spin("orders"), "component/m", module("one"), "message", "by curl", "git", `{"sha":"abc"}`))
	var made struct{ Version tenants.Version }
	mustDecode(t, r.body, &made)
	if v := made.Version; r.status != 201 || v.State != "ready" || v.Message != "by curl" || v.Git.SHA != "abc" || v.Components["m"] != sum(module("one")) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	post(form("manifest", spin("c"), "component/m", "x", "colour", "1")).refused(t, 400, "invalid_request")
	post(form("manifest", spin("c"), "component/m", "x", "component/m", "y")).refused(t, 400, "invalid_request")
	post(form("manifest", strings.Repeat("#", 256<<10+1))).refused(t, 413, "too_large")
	post(form("git", "{")).refused(t, 400, "invalid_request")
	for _, path := range []string{"../x", "/etc/passwd", "a/../../x", "a//b", "..", ""} {
		if p := post(form("manifest", spin("c"), "component/m", module("one"), "files/m/"+path, "x")).refused(t, 422, "invalid_version"); len(p.Errors) != 1 {
			t.Errorf("%q: %+v", path, p)
		}
	}
	squeezed, kind := form("manifest", spin("c"), "component/m", module("one"))
	h.as("deployer", "POST", "apps/mailer/versions", squeezed, "Content-Type", kind, "Content-Encoding", "gzip").refused(t, 415, "unsupported_encoding")
	body, kind := form("manifest", spin("c"), "component/m", strings.Repeat("x", 10_000))
	post(body[:5000], kind).refused(t, 400, "incomplete_body")
	post(body, "multipart/form-data").refused(t, 400, "invalid_form")
	h.ok("operator", "PUT", "policy", `{"grants":{"app_bytes":9000}}`, "If-Match", h.etag("operator", "policy"))
	if p := post(body, kind).refused(t, 413, "too_large"); p.Limit != 9000 {
		t.Errorf("%+v", p)
	}
}

func TestDeployments(t *testing.T) {
	h := build(t)
	one, two := h.version("orders", module("one")), h.version("orders", module("two"))
	deployed := func(body string, header ...string) map[string]any {
		t.Helper()
		made := h.ok("deployer", "POST", "apps/mailer/deployments", body, append(header, "Prefer", "wait=30")...)
		d := made["deployment"].(map[string]any)
		if d["state"] != "live" || d["config"] != nil {
			t.Fatalf("%v", made)
		}
		return d
	}
	h.as("deployer", "POST", "apps/mailer/deployments", `{"version":1,"percent":10}`).refused(t, 400, "invalid_request")
	stale := h.etag("viewer", "apps/mailer")
	first := deployed(fmt.Sprintf(`{"version":%d,"reason":"go"}`, one), "If-Match", stale)
	if first["reason"] != "go" {
		t.Errorf("%v", first)
	}
	h.as("deployer", "POST", "apps/mailer/deployments", `{"version":2}`, "If-Match", stale).refused(t, 412, "precondition_failed")
	canary := deployed(fmt.Sprintf(`{"version":"v%d","percent":10,"guard":{"errors":0.5},"affinity":"customer"}`, two))
	if w := fmt.Sprint(canary["weights"]); !strings.Contains(w, "percent:10 version:2") || !strings.Contains(w, "percent:90 version:1") {
		t.Errorf("%s", w)
	}
	if g := canary["guard"].(map[string]any); g["errors"] != 0.5 || g["window"] != "2m0s" {
		t.Errorf("%v", g)
	}
	deployed(fmt.Sprintf(`{"version":%d}`, two))
	h.ok("deployer", "PUT", "apps/mailer/variables/smtp_host", `{"value":"x"}`)
	p := h.as("deployer", "POST", "apps/mailer/deployments", `{"rollback":{}}`).refused(t, 409, "config_changed")
	if len(p.Names) != 1 || p.Names[0] != "smtp_host" {
		t.Errorf("%+v", p)
	}
	if back := deployed(`{"rollback":{"to":1},"accept":["smtp_host"]}`); back["rollback_of"] == nil {
		t.Errorf("%v", back)
	}
	if l := h.ok("viewer", "GET", "apps/mailer/deployments", ""); len(l["data"].([]any)) != 4 {
		t.Errorf("%v", l)
	}
	if d := h.ok("viewer", "GET", "apps/mailer/deployments/current", ""); d["state"] != "live" {
		t.Errorf("%v", d)
	}
	h.as("deployer", "POST", "apps/mailer/deployments/current:cancel", "").refused(t, 409, "wrong_state")
	h.as("deployer", "POST", "apps/mailer/deployments/x:cancel", "").refused(t, 404, "not_found")
	for _, body := range []string{
		"{}", `{"version":1,"rollback":{}}`, `{"version":1,"percent":0}`, `{"version":true}`, `{"weights":[{"version":1,"percent":50}]}`, `{"accept":["x"],"version":1}`,
		`{"weights":[{"version":1,"percent":50},{"version":1,"percent":50}]}`, `{"version":1,"guard":{"window":"1m"}}`, `{"version":1,"guard":{"windw":"1m"}}`,
		`{"weights":[{"verson":1}]}`,
	} {
		h.as("deployer", "POST", "apps/mailer/deployments", body).refused(t, 400, "invalid_request")
	}
	h.as("deployer", "POST", "apps/mailer/deployments", `{"version":77}`).refused(t, 404, "not_found")
}

// On a server that tenants share, a tenant's names are its own: it sees and says orders where Redis has acme:orders.
func TestTriggersAndPauses(t *testing.T) {
	h := build(t)
	h.ok("deployer", "POST", "apps/mailer/deployments", fmt.Sprintf(`{"version":%d}`, h.version("orders", module("one"))), "Prefer", "wait=30")
	triggers := func(path string) []any { return h.ok("viewer", "GET", path, "")["data"].([]any) }
	all := triggers("apps/mailer/triggers")
	if len(all) != 1 {
		t.Fatalf("%v", all)
	}
	one := all[0].(map[string]any)
	if one["target"] != "orders" || one["actual_target"] != "acme:orders" {
		t.Errorf("%v", one)
	}
	id := strings.ReplaceAll(one["id"].(string), " ", "%20")
	for _, path := range []string{"channels", "subscriptions", "triggers"} {
		if l := triggers(path); len(l) != 1 || l[0].(map[string]any)["target"] != "orders" {
			t.Errorf("%s: %v", path, l)
		}
	}
	if r := h.as("stranger", "GET", "/v1/tenants/other/channels", ""); strings.Contains(r.body, "orders") {
		t.Errorf("%s", r.body)
	}
	if a := h.ok("deployer", "POST", "messages", `{"channel":"ordrs","wait":"0s"}`); !strings.Contains(fmt.Sprint(a["near"]), "channel:orders") || a["channel"] != "ordrs" {
		t.Errorf("%v", a)
	}
	h.ok("deployer", "POST", "apps/mailer/triggers/"+id+":pause", "")
	if l := triggers("apps/mailer/triggers"); len(l) != 1 || l[0].(map[string]any)["state"] != "paused" {
		t.Errorf("%v", l)
	}
	h.ok("deployer", "POST", "apps/mailer/triggers/"+id+":resume", "")
	h.as("deployer", "POST", "apps/mailer/triggers/"+id+":resume", "").refused(t, 404, "not_found")
	h.as("deployer", "POST", "apps/mailer/triggers/nothere:pause", "").refused(t, 404, "not_found")
	if a := h.ok("deployer", "POST", "apps/mailer:pause", `{"reason":"night"}`); a["paused"] != true || a["paused_reason"] != "night" {
		t.Errorf("%v", a)
	}
	if a := h.ok("deployer", "POST", "apps/mailer:resume", ""); a["paused"] == true {
		t.Errorf("%v", a)
	}
	h.as("deployer", "PATCH", "apps/mailer", `{"paused":true}`).refused(t, 428, "precondition_required")
	if a := h.ok("deployer", "PATCH", "apps/mailer", `{"paused":true}`, "If-Match", h.etag("viewer", "apps/mailer")); a["paused"] != true {
		t.Errorf("%v", a)
	}
	if s := h.ok("operator", "POST", "/v1/tenants/acme:suspend", `{"reason":"unpaid"}`); s["state"] != "suspended" || s["reason"] != "unpaid" {
		t.Errorf("%v", s)
	}
	h.as("deployer", "POST", "apps/mailer:resume", "").refused(t, 403, "suspended")
	if s := h.ok("operator", "POST", "/v1/tenants/acme:resume", ""); s["state"] != "active" {
		t.Errorf("%v", s)
	}
	h.ok("owner", "DELETE", "apps/mailer", "")
	h.as("viewer", "GET", "apps/mailer", "").refused(t, 404, "not_found")
	h.as("app", "GET", "/v1/whoami", "").refused(t, 401, "unauthenticated") // its app is gone
	h.ok("operator", "DELETE", "/v1/tenants/acme", "")
	h.as("owner", "GET", "/v1/whoami", "").refused(t, 401, "unauthenticated")
	h.as("operator", "GET", "/v1/tenants/acme", "").refused(t, 404, "not_found")
}

func (h *house) print(app tenants.AppName, stream telemetry.Stream, text string) {
	h.tail.Write(telemetry.Line{At: time.Now(), Tenant: acme, App: app, Component: "m", Stream: stream, Text: []byte(text)})
}

func TestLogs(t *testing.T) {
	h := build(t)
	h.print("mailer", telemetry.Stdout, "one")
	h.print("mailer", telemetry.Stderr, "two")
	h.print("biller", telemetry.Stdout, "not mailer's")
	read := func(query string) string {
		t.Helper()
		var page struct{ Data []telemetry.Kept }
		mustDecode(t, h.as("viewer", "GET", "apps/mailer/logs"+query, "").body, &page)
		var all []string
		for _, l := range page.Data {
			all = append(all, l.Text)
		}
		return strings.Join(all, " ")
	}
	for query, want := range map[string]string{
		"": "one two", "?limit=1": "two", "?stream=stderr": "two", "?grep=^o": "one", "?component=m": "one two", "?component=x": "", "?since=1h": "one two",
		"?since=2001-01-01T00:00:00Z": "one two", "?since=0s": "",
	} {
		if got := read(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?grep=(", "?since=soon", "?stream=x", "?grep=" + strings.Repeat("x", 1001)} {
		h.as("viewer", "GET", "apps/mailer/logs"+query, "").refused(t, 400, "invalid_parameter")
	}
	if r := h.as("viewer", "GET", "apps/mailer/logs", "", "Accept", "application/x-ndjson"); strings.Count(r.body, "\n") != 2 {
		t.Errorf("%s", r.body)
	}
}

// Lines are told apart by the version and the invocation that printed them, and by their level.
func TestLogFilters(t *testing.T) {
	h := build(t)
	h.version("orders", module("one"))
	var v tenants.Version
	mustDecode(t, h.as("viewer", "GET", "apps/mailer/versions/1", "").body, &v)
	invocation := tenants.InvocationID{1}
	write := func(l telemetry.Line) {
		l.At, l.Tenant, l.App, l.Component = time.Now(), acme, "mailer", "m"
		h.tail.Write(l)
	}
	write(telemetry.Line{Version: v.Digest, Invoked: invocation, Stream: telemetry.Stdout, Text: []byte("a WARN")})
	write(telemetry.Line{Version: "sha256:other", Invoked: invocation, Stream: telemetry.Stderr, Text: []byte("b")})
	write(telemetry.Line{Version: v.Digest, Stream: telemetry.Stdout, Text: []byte("c")})
	for query, want := range map[string]string{
		"": "a WARN|b|c", "?version=1": "a WARN|c", "?version=v1": "a WARN|c", "?version=" + string(v.Digest): "a WARN|c", "?version=" + string(v.Key): "a WARN|c",
		"?invocation=" + invocation.String(): "a WARN|b", "?invocation=inv_x": "", "?level=warn": "a WARN|b", "?level=error": "b", "?level=trace": "a WARN|b|c",
		"?version=1&level=warn": "a WARN",
	} {
		var page struct{ Data []telemetry.Kept }
		mustDecode(t, h.as("viewer", "GET", "apps/mailer/logs"+query, "").body, &page)
		var all []string
		for _, l := range page.Data {
			all = append(all, l.Text)
		}
		if got := strings.Join(all, "|"); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	h.as("viewer", "GET", "apps/mailer/logs?level=loud", "").refused(t, 400, "invalid_parameter")
	h.as("viewer", "GET", "apps/mailer/logs?version=9", "").refused(t, 404, "not_found")
}

// A stream of lines goes on where it was cut, and says how many lines are gone.
func TestLogsResume(t *testing.T) {
	tail := telemetry.NewTail(3, 0)
	h := build(t, func(c *api.Config) { c.Tail = tail })
	h.tail = tail
	h.print("mailer", telemetry.Stdout, "one")
	id := func(w *watching, want string) string {
		t.Helper()
		for {
			line, err := w.lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(line, "id: "); ok {
				if e := w.expect("line"); !strings.Contains(e.data, `"text":"`+want+`"`) {
					t.Fatalf("%+v, want %s", e, want)
				}
				return strings.TrimSpace(rest)
			}
		}
	}
	w := h.follow("viewer", "/v1/tenants/acme/apps/mailer/logs")
	id(w, "one")
	h.print("mailer", telemetry.Stdout, "two")
	last := id(w, "two")
	h.print("mailer", telemetry.Stdout, "three")
	again := h.follow("viewer", "/v1/tenants/acme/apps/mailer/logs", "Last-Event-ID", last)
	id(again, "three")
	for i := range 5 {
		h.print("mailer", telemetry.Stdout, fmt.Sprint(i))
	}
	late := h.follow("viewer", "/v1/tenants/acme/apps/mailer/logs", "Last-Event-ID", last)
	for e := late.next(); e.name != "gap"; e = late.next() {
		if e.name != "" {
			t.Fatalf("%+v before the gap", e)
		}
	}
	id(late, "2")
	foreign := h.follow("viewer", "/v1/tenants/acme/apps/mailer/logs", "Last-Event-ID", "other-7")
	for e := foreign.next(); e.name != "gap"; e = foreign.next() {
		if e.name != "" {
			t.Fatalf("%+v before the gap", e)
		}
	}
}
