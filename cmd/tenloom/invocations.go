package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func invocationsCommand(g *globals) *cobra.Command {
	show := verb{use: "show ID", short: "Show one invocation, with its stages on a line of time", low: 1, high: 1, path: ofTenant("invocations")}.command(g)
	show.RunE = func(cmd *cobra.Command, args []string) error {
		s, c, err := g.screenAndClient(cmd)
		if err != nil {
			return err
		}
		doc, _, err := c.call(cmd.Context(), http.MethodGet, c.of("invocations", args[0]), nil)
		if err != nil {
			return err
		}
		return showInvocation(s, doc)
	}
	wanted := url.Values{}
	cmd := group(g, "invocations", "What became of messages", verb{
		use: "ls", short: "List the last invocations, the newest first", example: "  tenloom invocations ls --outcome failed --since 1h\n  tenloom invocations ls --app mailer --slower 100ms --limit 20",
		flags: func(cmd *cobra.Command) { filterFlags(cmd, wanted) },
		path: func(c *client, _ []string) (string, error) {
			path := c.of("invocations")
			if len(wanted) > 0 {
				path += "?" + wanted.Encode()
			}
			return path, nil
		},
		list: &listing{columns: []column{{"ID", "id"}, {"RECEIVED", "received_at"},
			{"APP", "app"}, {"COMPONENT", "component"}, {"CHANNEL", "channel"}, {"OUTCOME", "outcome"}, {"MS", "duration_ms"}, {"ERROR", "error"}}, key: "id"},
	})
	cmd.AddCommand(show)
	return cmd
}

// filterFlags fill a query with what the flags say.
func filterFlags(cmd *cobra.Command, into url.Values) {
	for _, f := range [][2]string{
		{"app", "of this application alone"}, {"component", "of this component alone"}, {"version", "of the version with this digest alone"},
		{"channel", "of messages on this channel alone"}, {"outcome", "that ended so: handled, failed or timed_out"},
		{"since", "received not longer ago than this: 15m, or a time such as 2026-01-02T15:04:05Z"}, {"until", "received before: as --since"},
		{"slower", "that ran at least so long: 100ms"}, {"faster", "that ran for less: 1s"},
	} {
		cmd.Flags().Func(f[0], f[1], func(value string) error {
			into.Set(f[0], value)
			return nil
		})
	}
}

// shownStage is a stage as the waterfall draws it.
type shownStage struct {
	Name   string  `json:"name"`
	At     float64 `json:"at_ms"`
	Took   float64 `json:"ms"`
	Detail string  `json:"detail"`
	System string  `json:"system"`
	Within string  `json:"within"`
	Failed bool    `json:"failed"`
	Status int     `json:"status"`
}

// showInvocation prints the members of the document, and for people the stages as a drawing.
func showInvocation(s screen, doc []byte) error {
	if s.isJSON() {
		return s.json(doc)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(doc, &members); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var stages []shownStage
	if raw := members["stages"]; raw != nil {
		if err := json.Unmarshal(raw, &stages); err != nil {
			return fmt.Errorf("read the stages: %w", err)
		}
	}
	if err := s.object(withoutStages(doc)); err != nil {
		return err
	}
	if len(stages) == 0 {
		return nil
	}
	if s.format == "table" {
		if _, err := fmt.Fprintln(s.w); err != nil {
			return err
		}
	}
	return s.rows("", waterfall(stages))
}

// withoutStages keeps the other members in their order.
func withoutStages(doc []byte) []byte {
	d := json.NewDecoder(strings.NewReader(string(doc)))
	var out strings.Builder
	out.WriteByte('{')
	d.Token() // the beginning of an object, which Unmarshal has seen
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return doc
		}
		if name == "stages" {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return doc
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return []byte(out.String())
}

// barWidth is the whole time of an invocation in characters.
const barWidth = 40

// waterfall draws each stage as a bar where it stands in the whole: at least one character, so that a short one is seen.
func waterfall(stages []shownStage) (rows [][]string) {
	end := 0.0
	for _, st := range stages {
		end = max(end, st.At+st.Took)
	}
	for _, st := range stages {
		from, width := 0, barWidth
		if end > 0 {
			from = min(int(st.At/end*barWidth), barWidth-1)
			width = max(int((st.At+st.Took)/end*barWidth+0.5)-from, 1)
		}
		bar := strings.Repeat(" ", from) + strings.Repeat("█", min(width, barWidth-from))
		name := st.Name
		if st.Within != "" {
			name = "  " + strings.TrimSpace(st.System+" "+st.Name)
		}
		rows = append(rows, []string{plain(name), "|" + bar + strings.Repeat(" ", barWidth-utf8.RuneCountInString(bar)) + "|", millis(st.Took), plain(stageNote(st))})
	}
	return rows
}

func stageNote(st shownStage) string {
	note := st.Detail
	if st.Status != 0 {
		note += fmt.Sprintf(" %d", st.Status)
	}
	if st.Failed {
		note += " failed"
	}
	return strings.TrimSpace(note)
}
