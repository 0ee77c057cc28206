package main

import (
	"context"
	"encoding/base64"
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

func subscribeCommand(g *globals) *cobra.Command {
	var patterns []string
	var sharded bool
	var limit int
	cmd := &cobra.Command{
		Use:   "subscribe CHANNEL... | --pattern P",
		Short: "Print messages as they arrive",
		Long: `Print messages as they arrive.

Messages published while the connection to the server is lost are not shown.`,
		Args: wantArgs(0, -1),
		RunE: func(cmd *cobra.Command, channels []string) error {
			if len(channels)+len(patterns) == 0 {
				return fail(exitUsage, "%s needs a channel or --pattern\n  usage: %s", cmd.CommandPath(), cmd.UseLine())
			}
			if limit < 0 {
				return fail(exitUsage, "--count %d: want 1 or more", limit)
			}
			kind := "channel"
			if sharded {
				kind = "sharded"
			}
			s, err := g.screen(cmd)
			if err != nil {
				return err
			}
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			sub := &subscriber{
				client: c, query: url.Values{kind: channels, "pattern": patterns}, limit: limit,
				show: func(data []byte) error { return printMessage(s, data) },
				hint: func(format string, a ...any) { g.hint(cmd, format, a...) },
			}
			return sub.run(cmd.Context())
		},
	}
	g.serverFlags(cmd)
	cmd.Flags().StringArrayVar(&patterns, "pattern", nil, "glob pattern of channels, as PSUBSCRIBE has it; may be repeated")
	cmd.Flags().BoolVar(&sharded, "sharded", false, "the channels are sharded ones, as SSUBSCRIBE has them")
	cmd.Flags().IntVar(&limit, "count", 0, "end after so many messages (default: never)")
	return cmd
}

// subscriber follows the tenant's messages and connects again when the server goes away.
type subscriber struct {
	client *client
	query  url.Values
	limit  int // messages; 0: no end
	show   func(data []byte) error
	hint   func(format string, args ...any)

	shown int
	ready bool // the server acknowledged on the present connection
}

// run prints messages until the limit, which is nil, or until ctx ends or the server stays away.
func (s *subscriber) run(ctx context.Context) error {
	return s.client.keepFollowing(ctx, s.hint, &s.ready, s.follow)
}

// follow is one connection: nil when the limit is reached, else why it ended.
func (s *subscriber) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing heard for %v", silence)) })
	defer watchdog.Stop()

	resp, err := s.client.do(ctx, http.MethodGet, "messages:subscribe?"+s.query.Encode(), "text/event-stream", nil)
	if err != nil {
		return stopIfFinal(err)
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return stopError{fmt.Errorf("%s answered with %q instead of an event stream\n  is it a tenloom server?", s.client.server, kind)}
	}
	stream := newEvents(resp.Body, func() { watchdog.Reset(silence) })
	for {
		ev, err := stream.next()
		if errors.Is(err, errEventTooLarge) {
			return stopError{err}
		}
		if err != nil {
			return s.client.lost(ctx, err)
		}
		if done, err := s.handle(ev); done || err != nil {
			return err
		}
	}
}

// stopIfFinal marks a refusal that the same request would meet again.
func stopIfFinal(err error) error {
	var refused *problem
	if errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests {
		return stopError{err}
	}
	return err
}

func (s *subscriber) handle(ev event) (done bool, err error) {
	switch ev.name {
	case "ready":
		s.ready = true
		s.hint("Listening. Ctrl-C ends.")
	case "gap":
		var gap struct {
			Dropped int `json:"dropped"`
		}
		if err := json.Unmarshal(ev.data, &gap); err != nil {
			return false, stopError{fmt.Errorf("read a gap event: %w", err)}
		}
		s.hint("Warning: %s missed, this reader was too slow.", count(gap.Dropped, "message"))
	case "message":
		if err := s.show(ev.data); err != nil {
			return false, stopError{err}
		}
		s.shown++
		return s.limit > 0 && s.shown == s.limit, nil
	}
	return false, nil // an event of a later server
}

// message is the data of a message event.
type message struct {
	Channel       string  `json:"channel"`
	Pattern       string  `json:"pattern"`
	Payload       *string `json:"payload"`
	PayloadBase64 string  `json:"payload_base64"`
	ReceivedAt    string  `json:"received_at"`
}

func printMessage(s screen, data []byte) error {
	if s.isJSON() {
		s.format = "ndjson" // a stream has no end to indent towards
		return s.json(data)
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read a message event: %w", err)
	}
	payload, err := m.text()
	if err != nil {
		return fmt.Errorf("read a message event: %w", err)
	}
	if s.format != "table" {
		return s.rows("", [][]string{{plain(m.ReceivedAt), plain(m.Channel), payload}})
	}
	clock := plain(m.ReceivedAt)
	if at, err := time.Parse(time.RFC3339Nano, m.ReceivedAt); err == nil {
		clock = at.Local().Format(time.TimeOnly)
	}
	return s.rows("", [][]string{{clock + " " + plain(m.Channel), payload}})
}

// text is the payload for a line: text with its control characters escaped, other bytes quoted whole.
func (m message) text() (string, error) {
	if m.Payload != nil {
		return plain(*m.Payload), nil
	}
	raw, err := base64.StdEncoding.DecodeString(m.PayloadBase64)
	if err != nil {
		return "", fmt.Errorf("payload_base64: %w", err)
	}
	return strconv.QuoteToASCII(string(raw)), nil
}
