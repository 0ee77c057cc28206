package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of a publish request.
const (
	MaxPayload  = 1 << 20 // bytes of one message
	DefaultWait = 10 * time.Second
	MaxWait     = 60 * time.Second
)

type publishRequest struct {
	Channel       string  `json:"channel"`
	Payload       *string `json:"payload"`
	PayloadBase64 []byte  `json:"payload_base64"`
	Endpoint      string  `json:"endpoint"`
	Wait          string  `json:"wait"`
}

type publishAnswer struct {
	ID             string     `json:"id"`
	Channel        string     `json:"channel"`
	Bytes          int        `json:"bytes"`
	RedisReceivers int64      `json:"redis_receivers"`
	Matched        int        `json:"matched"`
	Pending        int        `json:"pending"`
	Deliveries     []delivery `json:"deliveries"`
	Near           []near     `json:"near,omitempty"`
}

type delivery struct {
	App        tenants.AppName     `json:"app"`
	Component  tenants.ComponentID `json:"component"`
	Version    tenants.VersionID   `json:"version"`
	Outcome    tenants.Outcome     `json:"outcome"`
	Reason     tenants.Reason      `json:"reason"`
	Error      string              `json:"error"`
	QueuedMS   float64             `json:"queued_ms"`
	DurationMS float64             `json:"duration_ms"`
	Output     string              `json:"output"`
	Truncated  int64               `json:"truncated"`
	Invocation string              `json:"invocation"`
}

type near struct {
	Channel  string `json:"channel"`
	Handlers int    `json:"handlers"`
}

// publish publishes a message and answers what became of it: which triggers it woke, how each ended, and what they printed. It answers when
// all have ended, or after wait with what is known by then.
func (s *server) publish(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	in, payload, wait, err := readPublish(w, r)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) || errors.Is(err, errTooLarge) {
			problem{Status: http.StatusRequestEntityTooLarge, Code: "message_too_large", Title: "Message too large",
				Detail: fmt.Sprintf("a message may have %d bytes", MaxPayload), Next: "Keep large data in Redis and publish its key."}.write(w)
			return
		}
		badRequest(w, "invalid_message", err.Error(), `Send {"channel":"greetings","payload":"text"}.`)
		return
	}
	on, err := s.Server(tenant, in.Endpoint, in.Channel)
	if err != nil {
		badRequest(w, "unknown_endpoint", err.Error(), "Name the address of a Redis server that a trigger uses.")
		return
	}
	follow := s.Scheduler.Follow(on.ID, in.Channel, payload)
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	answer := publishAnswer{ID: follow.ID.String(), Channel: in.Channel, Bytes: len(payload), Matched: follow.Matched, Deliveries: []delivery{}}
	if answer.RedisReceivers, err = on.Publish(r.Context(), in.Channel, payload); err != nil {
		cancel()
		follow.Wait(ctx)
		problem{Status: http.StatusBadGateway, Code: "redis_unavailable", Title: "Redis did not take the message", Detail: err.Error(),
			Next: "See /readyz for how the connection stands."}.write(w)
		return
	}
	for _, in := range follow.Wait(ctx) {
		answer.Deliveries = append(answer.Deliveries, delivery{
			App: in.App, Component: in.Component, Version: in.Version, Outcome: in.Outcome, Reason: in.Reason, Error: in.Error,
			QueuedMS: in.QueuedMS, DurationMS: in.RanMS, Output: in.Output, Truncated: in.Truncated, Invocation: in.ID,
		})
	}
	slices.SortFunc(answer.Deliveries, func(a, b delivery) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Invocation, b.Invocation))
	})
	answer.Pending = answer.Matched - len(answer.Deliveries)
	if answer.Matched == 0 {
		answer.Near = s.near(tenant, in.Channel)
	}
	writeJSON(w, answer)
}

var errTooLarge = errors.New("message too large")

func readPublish(w http.ResponseWriter, r *http.Request) (in publishRequest, payload []byte, wait time.Duration, err error) {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 6*MaxPayload+4096)) // JSON may spell a byte with six characters
	body.DisallowUnknownFields()
	if err = body.Decode(&in); err != nil {
		return in, nil, 0, fmt.Errorf("read request: %w", err)
	}
	switch {
	case in.Channel == "":
		return in, nil, 0, errors.New("channel is missing")
	case in.Payload != nil && in.PayloadBase64 != nil:
		return in, nil, 0, errors.New("payload and payload_base64 exclude each other")
	case in.Payload != nil:
		payload = []byte(*in.Payload)
	default:
		payload = in.PayloadBase64
	}
	if len(payload) > MaxPayload {
		return in, nil, 0, errTooLarge
	}
	wait = DefaultWait
	if in.Wait != "" {
		if wait, err = time.ParseDuration(in.Wait); err != nil || wait < 0 {
			return in, nil, 0, fmt.Errorf("wait %q is not a duration like 5s", in.Wait)
		}
	}
	return in, payload, min(wait, MaxWait), nil
}

// near lists a tenant's channels whose names are within two edits of the one that nobody listens to.
func (s *server) near(tenant tenants.ID, channel string) []near {
	handlers := map[string]int{}
	for _, t := range s.Scheduler.Triggers(tenant) {
		if t.Target.Kind == tenants.Exact && distance(t.Target.Name, channel) <= 2 {
			handlers[t.Target.Name]++
		}
	}
	var found []near
	for name, n := range handlers {
		found = append(found, near{Channel: name, Handlers: n})
	}
	slices.SortFunc(found, func(a, b near) int {
		return cmp.Or(cmp.Compare(distance(a.Channel, channel), distance(b.Channel, channel)), strings.Compare(a.Channel, b.Channel))
	})
	return found[:min(len(found), 3)]
}

// distance counts the insertions, deletions and replacements between two names (Levenshtein), up to the first 64 bytes of each.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := before
			if a[i] != b[j] {
				replace++
			}
			before = row[j+1]
			row[j+1] = min(replace, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// payloadJSON puts a payload under the name that tells how it is written.
func payloadJSON(into map[string]any, payload []byte) {
	if utf8.Valid(payload) {
		into["payload"] = string(payload)
		return
	}
	into["payload_base64"] = base64.StdEncoding.EncodeToString(payload)
}
