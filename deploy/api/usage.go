package api

import (
	"fmt"
	"net/http"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

var usageParameters = []string{"app", "from", "to", "by"}

// usage is what a tenant's deliveries came to: since this process began, and by application and day as this server keeps it. Of several servers on
// one store each answers for what it handled itself.
func (s *server) usage(c *call) error {
	id := c.tenant.Value.ID
	account := s.Recorder.Account(id)
	out := map[string]any{"counts": account.Counts(), "load": s.Scheduler.Load(id), "apps": account.Apps()}
	if s.Ledger == nil {
		return c.json(http.StatusOK, out)
	}
	from, to, err := c.usageDays()
	if err != nil {
		return err
	}
	by := c.q.Get("by")
	if by != "" && by != "app" && by != "day" {
		return badRequest("invalid_parameter", "by is app or day", "Use ?by=day.")
	}
	days, err := s.Ledger.Usage(id, from, to)
	if err != nil {
		return err
	}
	rows := []telemetry.Usage{}
	app := tenants.AppName(c.q.Get("app"))
	for _, d := range days {
		if app == "" || d.App == app {
			rows = append(rows, d)
		}
	}
	if by != "day" {
		rows = append([]telemetry.Usage{}, telemetry.SumUsage(rows)...)
	}
	out["from"], out["to"], out["rows"] = from, to, rows
	return c.json(http.StatusOK, out)
}

// usageDays reads the range, of which the month so far is the default. A tenant's own begins with the tenant: another may have had the name.
func (c *call) usageDays() (from, to telemetry.Day, err error) {
	to = telemetry.DayOf(c.now)
	from = to[:len("2006-01-")] + "01"
	for name, day := range map[string]*telemetry.Day{"from": &from, "to": &to} {
		if !c.q.Has(name) {
			continue
		}
		if *day, err = telemetry.ParseDay(c.q.Get(name)); err != nil {
			return "", "", badRequest("invalid_parameter", name+": "+err.Error(), "Use ?from=2026-01-01&to=2026-01-31.")
		}
	}
	if from.Add(telemetry.DefaultUsageDays) < to {
		return "", "", badRequest("invalid_parameter", fmt.Sprintf("from and to are up to %d days apart", telemetry.DefaultUsageDays), "Ask for a shorter time.")
	}
	if made := c.tenant.Value.Created; !made.IsZero() {
		from = max(from, telemetry.DayOf(made))
	}
	return from, to, nil
}
