package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func usageCommand(g *globals) *cobra.Command {
	var app, from, to, by string
	var now bool
	cmd := &cobra.Command{
		Use: "usage", Short: "Show what the tenant's applications have used", Args: wantArgs(0, 0),
		Long: `Show what the tenant's applications have used, by default in this month. Days are UTC.

A server answers for what it handled itself: of several on one store, add up their answers. After a crash up to 5 seconds may be missing;
nothing counts twice.`,
		Example: "  tenloom usage\n  tenloom usage --app mailer --from 2026-01-01 --to 2026-01-31 --by day\n  tenloom usage --now",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"app": app, "from": from, "to": to, "by": by} {
				if value != "" {
					q.Set(name, value)
				}
			}
			path := c.of("usage")
			if len(q) > 0 {
				path += "?" + q.Encode()
			}
			doc, _, err := c.call(cmd.Context(), http.MethodGet, path, nil)
			if err != nil {
				return err
			}
			return showUsage(s, doc, now, by == "day")
		},
	}
	g.serverFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&app, "app", "", "of this application alone")
	flags.StringVar(&from, "from", "", "first day, such as 2026-01-01 (default: of this month)")
	flags.StringVar(&to, "to", "", "last day (default: today)")
	flags.StringVar(&by, "by", "", "day: a row for each day and application")
	flags.BoolVar(&now, "now", false, "what the server has counted since it began, and what waits")
	return cmd
}

var usageColumns = []column{
	{"APP", "app"}, {"INVOCATIONS", "invocations"}, {"FAILED", "failed"}, {"SECONDS", "seconds"}, {"GB-S", "gb_seconds"}, {"FUEL", "fuel"},
	{"BYTES", "bytes"}, {"CALLS", "outbound_calls"}, {"SENT", "bytes_sent"}, {"REPLIED", "bytes_replied"}, {"OUTCOMES", "outcomes"},
}

// showUsage prints rows, or the whole document: for programs as it came, for people without the rows.
func showUsage(s screen, doc []byte, now, daily bool) error {
	if s.format == "json" || s.format == "ndjson" && now {
		return s.json(doc)
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(doc, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if now {
		rest, err := json.Marshal(map[string]json.RawMessage{"counts": answer["counts"], "load": answer["load"]})
		if err != nil {
			return err
		}
		return s.object(rest)
	}
	l := listing{columns: usageColumns, key: "app"}
	if daily {
		l.columns = append([]column{{"DAY", "day"}}, usageColumns...)
	}
	var rows []json.RawMessage
	if answer["rows"] == nil {
		return fail(exitFailed, "the server keeps no usage by day\n  usage --now shows what it has counted since it began")
	}
	if err := json.Unmarshal(answer["rows"], &rows); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, r := range rows {
		if err := l.addDocument(r); err != nil {
			return err
		}
	}
	return l.print(s)
}
