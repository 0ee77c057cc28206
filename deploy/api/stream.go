package api

import (
	"context"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

const (
	tapBuffer    = 1024                  // messages that wait for a slow client; then some are lost and a gap event says how many
	firstLook    = time.Millisecond      // for Redis' acknowledgement; each later look waits twice as long as the one before
	lastLook     = 50 * time.Millisecond // up to this
	keepAlive    = 15 * time.Second      // between comments on an idle stream; half an answer waits no longer than that either
	writeTimeout = 30 * time.Second      // of one event: a client that reads nothing for so long is cut off
)

type state = scheduler.TargetState

// stream is one subscription's events on their way to its client.
type stream struct {
	*events
	tap     *scheduler.Tap
	want    map[tenants.Target]bool
	states  func() []state
	masked  bool                     // payloads are not shown
	written func(name string) string // a name as the tenant wrote it
	lost    int64                    // messages that gap events have told of
}

func newStream(w http.ResponseWriter, tap *scheduler.Tap, targets []tenants.Target, states func() []state) *stream {
	st := &stream{events: newEvents(w), tap: tap, want: map[tenants.Target]bool{}, states: states}
	for _, t := range targets {
		st.want[t] = true
	}
	return st
}

// run sends events until ctx ends, the client has gone, or Redis refuses a target.
func (st *stream) run(ctx context.Context) error {
	ready, err := st.await(ctx)
	if ready {
		err = st.follow(ctx)
	}
	if ctx.Err() != nil {
		return st.signedOut(ctx)
	}
	return err
}

// await waits for Redis' acknowledgement of all targets and tells the client. The answer begins when that is known, so that a refusal is a
// problem; where Redis is away for long it begins before, with comments.
func (st *stream) await(ctx context.Context) (ready bool, err error) {
	comment := time.NewTicker(keepAlive)
	defer comment.Stop()
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		acknowledged, refused := st.look()
		switch {
		case refused != nil:
			return false, st.refuse(refused)
		case acknowledged:
			err := st.event("ready", "", map[string]any{"targets": len(st.want)})
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(wait):
		case <-comment.C:
			if err := st.comment(); err != nil {
				return false, err
			}
		}
	}
}

// look asks how the targets stand.
func (st *stream) look() (acknowledged bool, refused *state) {
	active := 0
	for _, s := range st.states() {
		switch {
		case !st.want[s.Target]:
		case s.State == scheduler.Rejected:
			return false, &s
		case s.State == scheduler.Active:
			active++
		}
	}
	return active == len(st.want), nil
}

// refuse tells that Redis does not let the platform listen.
func (st *stream) refuse(s *state) error {
	p := &problem{Status: http.StatusBadGateway, Code: "subscription_refused", Title: "Redis refused the subscription",
		Detail: fmt.Sprintf("%v %q: %s", s.Kind, clip(s.Name), s.Reason), Next: "Grant the channel to the user that the platform has on this server."}
	if !st.begun {
		return p
	}
	return st.event("refused", "", p)
}

// follow sends what the tap sees.
func (st *stream) follow(ctx context.Context) error {
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case m := <-st.tap.C:
			err = st.event("message", "", newMessageEvent(m, st.written, st.masked))
			idle.Reset(keepAlive)
		case <-idle.C:
			err = st.comment()
		}
		if n := st.tap.Lost(); n > st.lost && err == nil {
			err = st.event("gap", "", map[string]any{"dropped": n - st.lost})
			st.lost = n
		}
		if err != nil {
			return err // the client has gone, or does not read
		}
	}
}

// messageEvent is one message. JSON holds text: where a name or payload is not UTF-8, the member in base64 has its bytes, and the name beside
// it is for people.
type messageEvent struct {
	Channel       string  `json:"channel"`
	ChannelBase64 []byte  `json:"channel_base64,omitempty"`
	Pattern       string  `json:"pattern"`
	PatternBase64 []byte  `json:"pattern_base64,omitempty"`
	Payload       *string `json:"payload,omitempty"`
	PayloadBase64 []byte  `json:"payload_base64,omitempty"`
	Bytes         int     `json:"bytes"`
	Masked        bool    `json:"masked,omitempty"` // the caller may not see payloads
	ReceivedAt    string  `json:"received_at"`
}

func newMessageEvent(m scheduler.Tapped, written func(string) string, masked bool) messageEvent {
	m.Channel, m.Pattern = written(m.Channel), written(m.Pattern)
	e := messageEvent{
		Channel: m.Channel, ChannelBase64: unlessText(m.Channel), Pattern: m.Pattern, PatternBase64: unlessText(m.Pattern),
		Bytes: len(m.Payload), ReceivedAt: m.Received.UTC().Format(time.RFC3339Nano),
	}
	if masked {
		e.Masked = true
	} else if text := string(m.Payload); utf8.ValidString(text) {
		e.Payload = &text
	} else {
		e.PayloadBase64 = m.Payload
	}
	return e
}

func unlessText(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}
