package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// events are server-sent events on their way to a client. The answer begins with the first of them.
type events struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	kind  string // media type; "" is text/event-stream
	begun bool   // the answer's header is sent
}

func newEvents(w http.ResponseWriter) *events {
	return &events{w: w, c: http.NewResponseController(w)}
}

func (e *events) comment() error { return e.send(": keep-alive\n\n") }

// event sends one event. Its id, where it has one, is what a client that comes back sends as Last-Event-ID.
func (e *events) event(name, id string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return e.send(id + "event: " + name + "\ndata: " + string(b) + "\n\n")
}

// signedOut tells the client where its token is why the stream ends.
func (e *events) signedOut(ctx context.Context) error {
	if !errors.Is(context.Cause(ctx), errSignedOut) {
		return nil
	}
	return e.event("signed_out", "", map[string]string{"code": "unauthenticated", "detail": errSignedOut.Error()})
}

// send writes to the client. The server takes the deadline off when the request has ended.
func (e *events) send(text string) error {
	if err := e.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if !e.begun {
		e.begun = true
		if e.kind != "" {
			e.w.Header().Set("Content-Type", e.kind)
		}
		streamHeader(e.w)
	}
	if _, err := io.WriteString(e.w, text); err != nil {
		return err
	}
	return e.c.Flush()
}

func streamHeader(w http.ResponseWriter) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
}
