package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func logsCommand(g *globals) *cobra.Command {
	var follow bool
	var component, version, invocation, level, stream, grep, since string
	var limit int
	cmd := &cobra.Command{
		Use: "logs", Short: "Show what an application's handlers printed", Args: wantArgs(0, 0),
		Example: "  tenloom logs -f\n  tenloom logs --since 15m --grep 'timeout|refused' --level warn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			path, err := c.ofApp("logs")
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"component": component, "version": version, "invocation": invocation, "level": level, "stream": stream, "grep": grep, "since": since} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if cmd.Flags().Changed("limit") {
				q.Set("limit", strconv.Itoa(limit))
			}
			if len(q) > 0 {
				path += "?" + q.Encode()
			}
			if !follow {
				return printLogs(cmd.Context(), s, c, path)
			}
			t := &logTail{client: c, path: path, screen: s, hint: func(format string, a ...any) { g.hint(cmd, format, a...) }}
			return t.run(cmd.Context())
		},
	}
	g.appFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "and what comes later")
	flags.StringVar(&component, "component", "", "of this component alone")
	flags.StringVar(&version, "version", "", "of this version alone: number, id or digest")
	flags.StringVar(&invocation, "invocation", "", "what this invocation printed: inv_...")
	flags.StringVar(&level, "level", "", "at least so urgent: trace, debug, info, warn or error; what says no level is info on stdout, error on stderr")
	flags.StringVar(&stream, "stream", "", "stdout or stderr")
	flags.StringVar(&grep, "grep", "", "lines that match this regular expression (RE2)")
	flags.StringVar(&since, "since", "", "not older than this: 15m, or a time such as 2026-01-02T15:04:05Z")
	flags.IntVar(&limit, "limit", 100, "at most so many of those that are there, up to 2000")
	return cmd
}

// logLine is a line of a handler's output.
type logLine struct {
	At        time.Time `json:"at"`
	Component string    `json:"component"`
	Stream    string    `json:"stream"`
	Text      string    `json:"text"`
}

func printLogs(ctx context.Context, s screen, c *client, path string) error {
	doc, _, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if s.format == "json" {
		return s.json(doc)
	}
	var answer struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(doc, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, one := range answer.Data {
		if err := printLogLine(s, one); err != nil {
			return err
		}
	}
	return nil
}

func printLogLine(s screen, doc []byte) error {
	if s.isJSON() {
		s.format = "ndjson" // a stream has no end to indent towards
		return s.json(doc)
	}
	var l logLine
	if err := json.Unmarshal(doc, &l); err != nil {
		return fmt.Errorf("read a log line: %w", err)
	}
	if s.format != "table" {
		return s.rows("", [][]string{{l.At.UTC().Format(time.RFC3339Nano), plain(l.Component), plain(l.Stream), plain(l.Text)}})
	}
	text := plain(l.Text)
	if l.Stream == "stderr" {
		text = s.paint(red, text)
	}
	return s.rows("", [][]string{{l.At.Local().Format("15:04:05.000") + " " + plain(l.Component), text}})
}

// logTail follows a log, and goes on after the last line that it showed when the server goes away and comes back.
type logTail struct {
	client *client
	path   string
	screen screen
	hint   func(format string, args ...any)
	last   string // id of the last event
	heard  bool   // on the present connection
}

// run ends with ctx, or when the server stays away.
func (t *logTail) run(ctx context.Context) error {
	return t.client.keepFollowing(ctx, t.hint, &t.heard, t.follow)
}

func (t *logTail) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing heard for %v", silence)) })
	defer watchdog.Stop()
	r := apiRequest{method: http.MethodGet, path: t.path, accept: "text/event-stream", header: map[string]string{}}
	if t.last != "" {
		r.header["Last-Event-ID"] = t.last
	}
	resp, err := t.client.send(ctx, r)
	if err != nil {
		return stopIfFinal(err)
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return stopError{fmt.Errorf("%s answered with %q instead of an event stream\n  is it a tenloom server?", t.client.server, kind)}
	}
	stream := newEvents(resp.Body, func() { watchdog.Reset(silence); t.heard = true })
	for {
		ev, err := stream.next()
		if errors.Is(err, errEventTooLarge) {
			return stopError{err}
		}
		if err != nil {
			return t.client.lost(ctx, err)
		}
		if err := t.handle(ev); err != nil {
			return err
		}
	}
}

func (t *logTail) handle(ev event) error {
	if ev.id != "" {
		t.last = ev.id
	}
	switch ev.name {
	case "line":
		if err := printLogLine(t.screen, ev.data); err != nil {
			return stopError{err}
		}
	case "gap":
		var gap struct{ Dropped int }
		if err := json.Unmarshal(ev.data, &gap); err != nil {
			return stopError{fmt.Errorf("read a gap event: %w", err)}
		}
		t.hint("Warning: %s no longer there.", count(gap.Dropped, "line"))
	case "signed_out":
		return stopError{fail(exitSignIn, "the token has expired or was revoked\n  sign in again: tenloom login")}
	}
	return nil
}
