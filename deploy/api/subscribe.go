package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

const (
	maxTargets  = 64               // of one subscription
	tapBuffer   = 1024             // messages that wait for a slow client; then some are lost and a gap event says how many
	keepAlive   = 15 * time.Second // between comments on an idle stream
	maxTapBytes = 256
)

// subscribe streams messages as server-sent events: "ready" when Redis has acknowledged every target, then "message" for each, and "gap"
// where the client was too slow.
func (s *server) subscribe(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	targets, err := readTargets(r)
	if err != nil {
		badRequest(w, "invalid_subscription", err.Error(), "Use ?channel=NAME or ?pattern=PATTERN, several times if needed.")
		return
	}
	on, err := s.Server(tenant, r.URL.Query().Get("endpoint"), targets[0].Name)
	if err != nil {
		badRequest(w, "unknown_endpoint", err.Error(), "Name the address of a Redis server that a trigger uses.")
		return
	}
	tap, err := s.Scheduler.Tap(on.ID, targets, tapBuffer)
	if err != nil {
		badRequest(w, "unknown_endpoint", err.Error(), "")
		return
	}
	defer tap.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	s.stream(http.NewResponseController(w), w, r, on.ID, tap, targets)
}

func readTargets(r *http.Request) (targets []tenants.Target, err error) {
	q := r.URL.Query()
	for _, name := range q["channel"] {
		targets = append(targets, tenants.Target{Kind: tenants.Exact, Name: name})
	}
	for _, name := range q["pattern"] {
		targets = append(targets, tenants.Target{Kind: tenants.Pattern, Name: name})
	}
	if len(targets) == 0 || len(targets) > maxTargets {
		return nil, fmt.Errorf("a subscription has 1 to %d channels and patterns, not %d", maxTargets, len(targets))
	}
	for _, t := range targets {
		if t.Name == "" || len(t.Name) > maxTapBytes {
			return nil, fmt.Errorf("a channel or pattern has 1 to %d bytes", maxTapBytes)
		}
	}
	return targets, nil
}

func (s *server) stream(c *http.ResponseController, w http.ResponseWriter, r *http.Request, id tenants.EndpointID, tap *scheduler.Tap, targets []tenants.Target) {
	tick := time.NewTicker(50 * time.Millisecond) // until the acknowledgement is there, then for keep-alive
	defer tick.Stop()
	ready, lost := false, int64(0)
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case m := <-tap.C:
			data := map[string]any{"channel": m.Channel, "pattern": m.Pattern, "bytes": len(m.Payload), "received_at": m.Received.UTC().Format(time.RFC3339Nano)}
			payloadJSON(data, m.Payload)
			err = event(w, "message", data)
		case <-tick.C:
			switch {
			case ready:
				_, err = fmt.Fprint(w, ": keep-alive\n\n")
			case acknowledged(s.Scheduler.TargetStates(id), targets):
				ready = true
				tick.Reset(keepAlive)
				err = event(w, "ready", map[string]any{"targets": len(targets)})
			}
		}
		if n := tap.Lost(); n > lost && err == nil {
			err = event(w, "gap", map[string]any{"dropped": n - lost})
			lost = n
		}
		if err != nil || c.Flush() != nil {
			return // the client has gone
		}
	}
}

func event(w http.ResponseWriter, name string, data any) error {
	b, err := json.Marshal(data)
	if err == nil {
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
	}
	return err
}

func acknowledged(states []scheduler.TargetState, targets []tenants.Target) bool {
	n := 0
	for _, st := range states {
		for _, t := range targets {
			if st.Target == t && st.State == scheduler.Active {
				n++
			}
		}
	}
	return n >= len(targets)
}
