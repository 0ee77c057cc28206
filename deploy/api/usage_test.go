package api_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// TestUsageByDay: rows by app and by day, of the own tenant alone, within the range that is asked for and no earlier than the tenant.
func TestUsageByDay(t *testing.T) {
	h := build(t)
	for app, n := range map[tenants.AppName]int{"mailer": 3, "biller": 2} {
		trigger := &tenants.Trigger{Tenant: acme, App: app, Target: tenants.Target{Name: "c"}}
		for i := range n {
			rec := telemetry.Record{Trigger: trigger, Invocation: tenants.InvocationID{1}, Fuel: 10, Bytes: 4, Ran: time.Second, Memory: 1 << 30}
			if i == 0 {
				rec.Outcome = tenants.Failed
			}
			h.recorder.Account(acme).Record(&rec)
		}
		h.recorder.Account(acme).Record(&telemetry.Record{Trigger: trigger, Outcome: tenants.Throttled})
	}
	today := telemetry.DayOf(time.Now())
	rows := func(who, query string) (all []telemetry.Usage) {
		t.Helper()
		var answer struct{ Rows []telemetry.Usage }
		doc, err := json.Marshal(h.ok(who, "GET", "usage"+query, ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(doc, &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Rows
	}
	daily := rows("viewer", "?by=day")
	if len(daily) != 2 || daily[1].App != "mailer" || daily[1].Day < today.Add(-1) || daily[1].Invocations != 3 || daily[1].Failed != 1 || daily[1].Fuel != 30 || daily[1].Bytes != 12 ||
		daily[1].Outcomes != (telemetry.ByOutcome{tenants.Handled: 2, tenants.Failed: 1, tenants.Throttled: 1}) || daily[1].Held < 3.2 || daily[1].Held > 3.3 {
		t.Errorf("by day: %+v", daily)
	}
	if r := h.as("viewer", "GET", "usage?from=2000-01-01", ""); r.status != 400 {
		t.Errorf("a range of decades: %d", r.status)
	}
	if all := rows("viewer", fmt.Sprintf("?app=biller&from=%s&to=%s", today.Add(-30), today.Add(1))); len(all) != 1 || all[0].Invocations != 2 || all[0].Day != "" {
		t.Errorf("by app: %+v", all)
	}
	if all := rows("viewer", "?to="+string(today.Add(-2))+"&from="+string(today.Add(-30))); len(all) != 0 {
		t.Errorf("before the tenant: %+v", all)
	}
	for _, query := range []string{"?by=hour", "?from=yesterday", "?to=2026-13-01"} {
		if r := h.as("viewer", "GET", "usage"+query, ""); r.status != 400 {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}
