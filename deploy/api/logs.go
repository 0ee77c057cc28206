package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

const (
	defaultLines = 100
	maxLines     = 2000
	maxPattern   = 1000 // bytes of a regular expression, which Go matches in time linear to the text (RE2)
	batch        = 200  // lines that a stream reads at once
)

var logParameters = []string{"component", "version", "invocation", "stream", "level", "grep", "since", "limit", "follow"}

// logs shows the last lines of an app's handlers, the oldest first. With Accept: text/event-stream, or ?follow with application/x-ndjson, lines
// that come later follow; Last-Event-ID goes on where a stream was cut, and a gap tells how many lines are no longer there.
func (s *server) logs(c *call) error {
	want, err := c.wantedLines()
	if err != nil {
		return err
	}
	n, err := readLimit(c.q, defaultLines, maxLines)
	if err != nil {
		return err
	}
	id := c.tenant.Value.ID
	switch {
	case wants(c.r, "text/event-stream"):
		return s.tailLogs(c, want, n, false)
	case wants(c.r, ndjson) && c.q.Has("follow"):
		return s.tailLogs(c, want, n, true)
	}
	lines, _ := s.Tail.Last(id, n, want)
	if wants(c.r, ndjson) {
		c.w.Header().Set("Content-Type", ndjson)
		c.w.Header().Set("Cache-Control", "no-store")
		enc := json.NewEncoder(c.w)
		for _, l := range lines {
			if err := enc.Encode(l); err != nil {
				return err
			}
		}
		return nil
	}
	if lines == nil {
		lines = []telemetry.Kept{}
	}
	return c.json(http.StatusOK, listing[telemetry.Kept]{Data: lines})
}

// wantedLines reads the filters.
func (c *call) wantedLines() (func(*telemetry.Kept) bool, error) {
	app, component, stream := c.app.Value.Name, tenants.ComponentID(c.q.Get("component")), c.q.Get("stream")
	if c.q.Has("stream") && stream != "stdout" && stream != "stderr" {
		return nil, badRequest("invalid_parameter", "stream is stdout or stderr", "Use ?stream=stderr.")
	}
	version, err := c.versionDigest(c.q.Get("version"))
	if err != nil {
		return nil, err
	}
	invocation := c.q.Get("invocation")
	level := telemetry.LevelTrace
	if c.q.Has("level") {
		if level, err = telemetry.ParseLevel(c.q.Get("level")); err != nil {
			return nil, badRequest("invalid_parameter", err.Error(), "Use ?level=warn for that and what is more urgent.")
		}
	}
	var grep *regexp.Regexp
	if text := c.q.Get("grep"); text != "" {
		if len(text) > maxPattern {
			return nil, badRequest("invalid_parameter", fmt.Sprintf("grep has up to %d bytes", maxPattern), "Use a shorter expression.")
		}
		if grep, err = regexp.Compile(text); err != nil {
			return nil, badRequest("invalid_parameter", clip(err.Error()), "Use an expression of RE2: https://github.com/google/re2/wiki/Syntax.")
		}
	}
	var from time.Time
	if c.q.Has("since") {
		if from, err = since(c.q.Get("since"), c.now); err != nil {
			return nil, err
		}
	}
	return func(k *telemetry.Kept) bool {
		return k.App == app && (component == "" || k.Component == component) && (stream == "" || k.Stream == stream) &&
			(version == "" || k.Version == version) && (invocation == "" || k.Invoked == invocation) && k.Level >= level &&
			!k.At.Before(from) && (grep == nil || grep.MatchString(k.Text))
	}, nil
}

// versionDigest is the digest of a version of the path's app that a filter names by number, id or digest; "" where it names none.
func (c *call) versionDigest(ref string) (tenants.VersionID, error) {
	if ref == "" || tenants.CheckDigest(ref) == nil {
		return tenants.VersionID(ref), nil
	}
	v, err := c.s.Store.Version(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, ref)
	if err != nil {
		return "", noSuchIf(err, "version")
	}
	return v.Value.Digest, nil
}

// tailLogs streams lines. The ids of events tell the process apart, whose numbers begin anew.
func (s *server) tailLogs(c *call, want func(*telemetry.Kept) bool, n int, plain bool) error {
	if c.r.Method == http.MethodHead {
		streamHeader(c.w)
		return nil
	}
	if err := s.streams.take(); err != nil {
		return err
	}
	defer s.streams.leave()
	ctx, done := c.streaming()
	defer done()
	out := &logStream{events: newEvents(c.w), epoch: s.epoch}
	if plain {
		out.plain = true
	}
	id := c.tenant.Value.ID
	var after uint64
	if last := c.r.Header.Get("Last-Event-ID"); last != "" {
		after = out.resume(last)
	} else {
		var lines []telemetry.Kept
		lines, after = s.Tail.Last(id, n, want)
		if err := out.lines(lines); err != nil {
			return err
		}
	}
	return s.goOn(ctx, out, id, after, want)
}

func (s *server) goOn(ctx context.Context, out *logStream, id tenants.ID, after uint64, want func(*telemetry.Kept) bool) error {
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	if err := out.begin(); err != nil {
		return err
	}
	for {
		lines, next, missed := s.Tail.Read(id, after, batch, want)
		after = next
		if err := out.gap(missed); err != nil {
			return err
		}
		if err := out.lines(lines); err != nil {
			return err
		}
		if len(lines) > 0 {
			idle.Reset(keepAlive)
		}
		select {
		case <-ctx.Done():
			return out.over(ctx)
		case <-s.Tail.Wait(id, after):
		case <-idle.C:
			if err := out.alive(); err != nil {
				return err
			}
		}
	}
}

// logStream is lines on their way to a client, as events or as NDJSON.
type logStream struct {
	*events
	plain bool
	epoch string
}

// begin lets the client know that the stream is there.
func (o *logStream) begin() error {
	if o.begun {
		return nil
	}
	return o.alive()
}

func (o *logStream) alive() error {
	if o.plain {
		o.kind = ndjson
		return o.send("\n")
	}
	return o.comment()
}

func (o *logStream) lines(all []telemetry.Kept) error {
	for part := range slices.Chunk(all, batch) {
		var text strings.Builder
		for _, l := range part {
			b, err := json.Marshal(l)
			if err != nil {
				return err
			}
			if o.plain {
				o.kind = ndjson
				text.Write(append(b, '\n'))
				continue
			}
			fmt.Fprintf(&text, "id: %s-%d\nevent: line\ndata: %s\n\n", o.epoch, l.Seq, b)
		}
		if err := o.send(text.String()); err != nil {
			return err
		}
	}
	return nil
}

func (o *logStream) gap(missed uint64) error {
	switch {
	case missed == 0:
		return nil
	case o.plain:
		o.kind = ndjson
		return o.send(fmt.Sprintf("{\"gap\":{\"dropped\":%d}}\n", missed))
	}
	return o.event("gap", "", map[string]uint64{"dropped": missed})
}

func (o *logStream) over(ctx context.Context) error {
	if o.plain {
		return nil
	}
	return o.signedOut(ctx)
}

// resume reads the id of the last event that a client saw. One of another process means the beginning of what this one has.
func (o *logStream) resume(last string) uint64 {
	epoch, seq, _ := strings.Cut(last, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if epoch != o.epoch || err != nil {
		return 0
	}
	return n
}
