package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// TestStoredInvocations: filters and pages over an archive, and payloads for those alone who may see them.
func TestStoredInvocations(t *testing.T) {
	h := build(t)
	a, err := telemetry.OpenArchive(telemetry.ArchiveConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	h.recorder.Keep(a)
	var ids tenants.ULIDs
	var last string
	for n := range 10 {
		now := time.Now()
		rec := telemetry.Record{
			Trigger: &tenants.Trigger{Tenant: acme, App: "mailer", Component: "c", Endpoint: tenants.DefaultEndpoint}, Channel: fmt.Append(nil, "acme:ch", n%2),
			Invocation: tenants.InvocationID(ids.Next(now)), Received: now, Ran: time.Duration(n) * time.Millisecond, Payload: []byte("secret"), Bytes: 6, Awaited: true,
		}
		if n%5 == 0 {
			rec.Outcome, rec.Payload = tenants.Failed, []byte{0xff, 0}
		}
		h.recorder.Account(acme).Record(&rec)
		last = rec.Invocation.String()
	}
	count := func(query string) (n int) {
		t.Helper()
		for cursor := ""; ; {
			out := h.ok("viewer", "GET", "invocations?limit=3&cursor="+cursor+query, "")
			n += len(out["data"].([]any))
			if cursor = out["next_cursor"].(string); cursor == "" {
				return n
			}
		}
	}
	for query, want := range map[string]int{
		"": 10, "&outcome=failed": 2, "&channel=ch1": 5, "&slower=7ms": 3, "&slower=2ms&faster=5ms": 3, "&app=mailer": 10, "&app=biller": 0, "&component=c": 10,
		"&until=1h": 0, "&since=1h": 10, "&version=sha256:0": 0,
	} {
		if n := count(query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	if in := h.ok("deployer", "GET", "invocations/"+last, ""); in["payload"] != "secret" || in["masked"] != nil || in["channel"] != "ch1" {
		t.Errorf("a deployer sees %v", in)
	}
	if in := h.ok("viewer", "GET", "invocations/"+last, ""); in["payload"] != nil || in["masked"] != true {
		t.Errorf("a viewer sees %v", in)
	}
	failed := h.ok("viewer", "GET", "invocations?outcome=failed", "")["data"].([]any)[0].(map[string]any)["id"].(string)
	if in := h.ok("owner", "GET", "invocations/"+failed, ""); in["payload_base64"] != "/wA=" {
		t.Errorf("%v", in)
	}
	if r := h.as("stranger", "GET", "/v1/tenants/other/invocations/"+last, ""); r.status != 404 {
		t.Errorf("another tenant: %d", r.status)
	}
	for _, query := range []string{"faster=soon", "slower=-1s", "until=x", "cursor=zz"} {
		if r := h.as("viewer", "GET", "invocations?"+query, ""); r.status != 400 {
			t.Errorf("%s: %d", query, r.status)
		}
	}
}
