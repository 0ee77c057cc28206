package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

const (
	maxPayload  = 16 << 20         // bytes; a larger one is refused before it is sent
	maxWait     = 60 * time.Second // the server waits no longer
	answerGrace = 15 * time.Second // for an answer, after the wait
)

type publishFlags struct {
	count    int
	rate     string
	wait     time.Duration
	endpoint string
	headers  []string
	sharded  bool
}

func publishCommand(g *globals) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish CHANNEL [DATA|-|@file]",
		Short: "Publish a message and tell what its handlers did",
		Long: `Publish a message and tell what its handlers did.

The payload is DATA as it stands, or with - what stdin holds, or with @file what the file holds, or nothing.
Ends with 1 if a handler did not handle the message, with 8 if one was not done when the wait ended.`,
		Args: wantArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newPublisher(g, cmd, f, args)
			if err != nil {
				return err
			}
			return p.run(cmd.Context())
		},
	}
	g.serverFlags(cmd)
	cmd.Flags().IntVar(&f.count, "count", 1, "publish so many times and sum up")
	cmd.Flags().StringVar(&f.rate, "rate", "", "at most so many: 50/s, 10/m (default: one after the other)")
	cmd.Flags().DurationVar(&f.wait, "wait", 10*time.Second, "for the handlers, up to 60s; 0s does not wait")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "traceparent=00-...: puts the payload into a CloudEvents envelope that takes the trace along")
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "name or URL of the Redis server (default: the main one)")
	cmd.Flags().BoolVar(&f.sharded, "sharded", false, "on a sharded channel, as SPUBLISH has it")
	return cmd
}

// publishRequest and publishAnswer are the bodies of POST /v1/tenants/{tenant}/messages.
type publishRequest struct {
	Channel       string            `json:"channel"`
	Payload       *string           `json:"payload,omitempty"`
	PayloadBase64 []byte            `json:"payload_base64,omitempty"` // in place of Payload when that is not UTF-8
	Endpoint      string            `json:"endpoint,omitempty"`
	Sharded       bool              `json:"sharded,omitempty"`
	Wait          string            `json:"wait"`
	Headers       map[string]string `json:"headers,omitempty"`
}

type publishAnswer struct {
	ID             string            `json:"id"`
	Channel        string            `json:"channel"`
	Bytes          int64             `json:"bytes"`
	RedisReceivers int               `json:"redis_receivers"`
	Matched        int               `json:"matched"` // triggers
	Pending        int               `json:"pending"` // of them, when the wait ended
	Deliveries     []publishDelivery `json:"deliveries"`
	Near           []nearChannel     `json:"near"`
}

type publishDelivery struct {
	App        string  `json:"app"`
	Component  string  `json:"component"`
	Version    string  `json:"version"`
	Outcome    string  `json:"outcome"`
	Reason     string  `json:"reason"`
	Error      string  `json:"error"`
	QueuedMS   float64 `json:"queued_ms"`
	DurationMS float64 `json:"duration_ms"`
	Output     string  `json:"output"`
	Truncated  int64   `json:"truncated"` // bytes of output that were cut
	Memory     uint64  `json:"memory_bytes"`
	Fuel       uint64  `json:"fuel"`
	Invocation string  `json:"invocation"`
}

// nearChannel is a channel with handlers whose name is close to one that has none.
type nearChannel struct {
	Channel  string `json:"channel"`
	Handlers int    `json:"handlers"`
}

// publisher publishes one payload, once or many times.
type publisher struct {
	client  *client
	screen  screen
	verbose bool // show what the handlers used
	hint    func(format string, args ...any)
	request publishRequest
	count   int
	pause   time.Duration // between the starts of two
	wait    time.Duration
}

func newPublisher(g *globals, cmd *cobra.Command, f publishFlags, args []string) (*publisher, error) {
	if f.count < 1 {
		return nil, fail(exitUsage, "--count %d: want 1 or more", f.count)
	}
	if f.wait < 0 || f.wait > maxWait {
		return nil, fail(exitUsage, "--wait %v: want 0s to 60s", f.wait)
	}
	if args[0] == "" {
		return nil, fail(exitUsage, "the channel must not be empty\n  usage: %s", cmd.UseLine())
	}
	pause, err := parseRate(f.rate)
	if err != nil {
		return nil, err
	}
	s, err := g.screen(cmd)
	if err != nil {
		return nil, err
	}
	c, err := g.client(cmd)
	if err != nil {
		return nil, err
	}
	payload, err := readPayload(cmd.InOrStdin(), args[1:])
	if err != nil {
		return nil, err
	}
	request := newPublishRequest(args[0], payload, f)
	if request.Headers, err = messageHeaders(f.headers); err != nil {
		return nil, err
	}
	return &publisher{
		client: c, screen: s, verbose: g.verbose, hint: func(format string, a ...any) { g.hint(cmd, format, a...) },
		request: request, count: f.count, pause: pause, wait: f.wait,
	}, nil
}

func newPublishRequest(channel string, payload []byte, f publishFlags) publishRequest {
	r := publishRequest{Channel: channel, Endpoint: f.endpoint, Sharded: f.sharded, Wait: f.wait.String()}
	if text := string(payload); utf8.ValidString(text) {
		r.Payload = &text
	} else {
		r.PayloadBase64 = payload
	}
	return r
}

// messageHeaders reads name=value, or name: value as curl writes it.
func messageHeaders(all []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, h := range all {
		i := strings.IndexAny(h, "=:")
		if i < 1 {
			return nil, fail(exitUsage, "the header %q is not name=value\n  such as -H traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", h)
		}
		headers[strings.ToLower(strings.TrimSpace(h[:i]))] = strings.TrimSpace(h[i+1:])
	}
	return headers, nil
}

// readPayload reads what DATA, - or @file names.
func readPayload(stdin io.Reader, args []string) ([]byte, error) {
	switch {
	case len(args) == 0:
		return nil, nil
	case args[0] == "-":
		return readBounded(stdin, "stdin")
	case strings.HasPrefix(args[0], "@"):
		path := args[0][1:]
		f, err := os.Open(path)
		if err != nil {
			return nil, fail(exitUsage, "read payload: %w\n  DATA that begins with @ names a file; send such text itself through stdin, as -", err)
		}
		defer f.Close()
		return readBounded(f, path)
	}
	return []byte(args[0]), nil
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read payload from %s: %w", name, err)
	}
	if len(data) > maxPayload {
		return nil, fail(exitUsage, "the payload in %s is larger than %s", name, size(maxPayload))
	}
	return data, nil
}

// parseRate gives the pause between two messages: "50/s" is 20 ms. Nothing is no pause.
func parseRate(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	per := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || per == 0 || !(n > 0) || n > 1e6 || float64(per)/n > float64(24*time.Hour) {
		return 0, fail(exitUsage, "--rate %q: want a number of messages for each second, minute or hour, such as 50/s, 10/m or 4/h", s)
	}
	return time.Duration(float64(per) / n), nil
}

func (p *publisher) run(ctx context.Context) error {
	if p.count > 1 {
		return p.runMany(ctx)
	}
	answer, doc, err := p.publish(ctx)
	if err != nil {
		return err
	}
	if err := p.print(answer, doc); err != nil {
		return err
	}
	p.warn(answer)
	return p.verdict(answer)
}

func (p *publisher) publish(ctx context.Context) (publishAnswer, []byte, error) {
	var answer publishAnswer
	doc, err := p.client.post(ctx, "messages", p.request, p.wait+answerGrace)
	if err != nil {
		return answer, nil, err
	}
	if err := json.Unmarshal(doc, &answer); err != nil {
		return answer, nil, fmt.Errorf("read the answer of %s: %w\n  is it a tenloom server?", p.client.server, err)
	}
	return answer, doc, nil
}

func (p *publisher) print(answer publishAnswer, doc []byte) error {
	if p.screen.isJSON() {
		return p.screen.json(doc)
	}
	head := []string{answer.ID, plain(answer.Channel), size(answer.Bytes), count(answer.Matched, "handler")}
	if err := p.screen.rows("", [][]string{head}); err != nil {
		return err
	}
	var rows [][]string
	for _, d := range answer.Deliveries {
		rows = append(rows, p.row(d))
	}
	if err := p.screen.rows("  ", rows); err != nil {
		return err
	}
	if id := worth(answer.Deliveries); id != "" {
		return p.screen.rows("", [][]string{{"Trace", p.client.url("invocations/" + id)}})
	}
	return nil
}

// row is one delivery. The last cell stands apart by one space more.
func (p *publisher) row(d publishDelivery) []string {
	row := []string{p.outcome(d.Outcome), p.handler(d), millis(d.DurationMS)}
	if p.verbose && d.Invocation != "" {
		row = append(row, size(int64(d.Memory)), fmt.Sprintf("%d fuel", d.Fuel))
	}
	if text := d.said(); text != "" && p.screen.format == "table" {
		row = append(row, " "+text)
	} else if text != "" {
		row = append(row, text)
	}
	return row
}

func (p *publisher) outcome(name string) string {
	if name == "handled" {
		return p.screen.paint(green, "ok")
	}
	return p.screen.paint(red, plain(name))
}

func (p *publisher) handler(d publishDelivery) string {
	digest := strings.TrimPrefix(d.Version, "sha256:")
	return plain(fmt.Sprintf("%s/%s %s %s", p.client.tenant, d.App, d.Component, digest[:min(len(digest), 7)]))
}

// said is why a delivery failed and the last line that its handler printed.
func (d publishDelivery) said() string {
	var parts []string
	if d.Reason != "" {
		parts = append(parts, plain(d.Reason))
	}
	if d.Error != "" {
		parts = append(parts, cut(plain(d.Error), 200))
	}
	if line := lastLine(d.Output); line != "" {
		parts = append(parts, line)
	}
	if d.Truncated > 0 {
		parts = append(parts, "("+size(d.Truncated)+" of output cut)")
	}
	return strings.Join(parts, "  ")
}

// worth picks the invocation to look at: the first that was not handled, else the first.
func worth(deliveries []publishDelivery) string {
	first := ""
	for _, d := range deliveries {
		if d.Invocation == "" {
			continue
		}
		if d.Outcome != "handled" {
			return d.Invocation
		}
		if first == "" {
			first = d.Invocation
		}
	}
	return first
}

func (p *publisher) warn(answer publishAnswer) {
	if answer.Matched == 0 {
		advice := ""
		if len(answer.Near) > 0 {
			n := answer.Near[0]
			advice = fmt.Sprintf(" Did you mean %q (%s)?", n.Channel, count(n.Handlers, "handler"))
		}
		p.hint("Warning: nothing listens on %q.%s", answer.Channel, advice)
	}
	if answer.Pending > 0 && p.wait > 0 {
		p.hint("Still pending after %v: %d of %s. See %s", p.wait, answer.Pending, deliveries(answer.Matched), p.client.url("invocations"))
	}
}

// verdict turns what became of a message into the exit code. Who did not wait is not told of what is pending.
func (p *publisher) verdict(answer publishAnswer) error {
	for _, d := range answer.Deliveries {
		if d.Outcome != "handled" {
			return &exitError{code: exitFailed}
		}
	}
	if answer.Pending > 0 && p.wait > 0 {
		return &exitError{code: exitPending}
	}
	return nil
}
