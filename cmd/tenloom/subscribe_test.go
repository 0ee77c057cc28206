package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wire stands for the network and a server behind it: each request takes the next connection of the script.
type wire struct {
	script []func(ctx context.Context, w *io.PipeWriter) error // an error: the dial fails
	dialed []time.Duration                                     // since start
	start  time.Time
}

func (n *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	n.dialed = append(n.dialed, time.Since(n.start))
	connection := n.script[min(len(n.dialed), len(n.script))-1]
	body, w := io.Pipe()
	if err := connection(r.Context(), w); err != nil {
		return nil, err
	}
	context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body}, nil
}

func refused(context.Context, *io.PipeWriter) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// speaks sends events, then ends the stream with err.
func speaks(err error, text string) func(context.Context, *io.PipeWriter) error {
	return func(_ context.Context, w *io.PipeWriter) error {
		go func() { // ends when the text is read or the request is over
			io.WriteString(w, text)
			w.CloseWithError(err)
		}()
		return nil
	}
}

// mute acknowledges and then says nothing more.
func mute(_ context.Context, w *io.PipeWriter) error {
	go io.WriteString(w, ready) // ends when the text is read or the request is over
	return nil
}

const ready = "event: ready\ndata: {}\n\n"

func msg(n int) string { return fmt.Sprintf("data: {\"n\":%d}\n\n", n) }

type followed struct {
	err    error
	shown  []string
	said   []string
	dialed []time.Duration
}

func followWire(ctx context.Context, limit int, script ...func(context.Context, *io.PipeWriter) error) followed {
	var f followed
	n := &wire{script: script, start: time.Now()}
	s := &subscriber{
		client: &client{http: &http.Client{Transport: n}, server: "http://server", tenant: "demo", program: "tenloom"},
		query:  url.Values{"channel": {"a"}}, limit: limit,
		show: func(data []byte) error { f.shown = append(f.shown, string(data)); return nil },
		hint: func(format string, args ...any) { f.said = append(f.said, fmt.Sprintf(format, args...)) },
	}
	f.err = s.run(ctx)
	f.dialed = n.dialed
	return f
}

func seconds(values ...int) []time.Duration {
	var out []time.Duration
	for _, v := range values {
		out = append(out, time.Duration(v)*time.Second)
	}
	return out
}

func TestSubscribeConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := followWire(t.Context(), 3,
			speaks(io.ErrUnexpectedEOF, ready+msg(1)),
			refused, refused, refused,
			speaks(nil, ready+msg(2)), // its acknowledgement starts the count of tries anew
			refused,
			speaks(nil, ready+msg(3)+msg(4)))
		if f.err != nil || !slices.Equal(f.shown, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}) {
			t.Errorf("%v, shown %q", f.err, f.shown)
		}
		if want := seconds(0, 1, 3, 7, 15, 16, 18); !slices.Equal(f.dialed, want) {
			t.Errorf("dialed at %v, want %v", f.dialed, want)
		}
		want := "Connection lost: no whole answer from http://server\n  connecting again in 1s (1 of 5)"
		if len(f.said) != 9 || f.said[1] != want {
			t.Errorf("said %q", f.said)
		}
	})
}

func TestSubscribeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := followWire(t.Context(), 0, speaks(nil, ready), refused)
		if f.err == nil || !strings.HasPrefix(f.err.Error(), "gave up after 5 tries to connect again: no server answers at http://server\n") {
			t.Error(f.err)
		}
		if want := seconds(0, 1, 3, 7, 15, 31); !slices.Equal(f.dialed, want) {
			t.Errorf("dialed at %v, want %v", f.dialed, want)
		}
	})
}

func TestSubscribeFirstConnectionIsNotTriedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := followWire(t.Context(), 0, refused)
		if f.err == nil || len(f.dialed) != 1 || len(f.said) != 0 {
			t.Errorf("%v after dialing at %v, said %q", f.err, f.dialed, f.said)
		}
	})
}

// A connection on which not even the server's comments arrive is given up.
func TestSubscribeNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := followWire(t.Context(), 1, mute, speaks(nil, ready+msg(1)))
		if want := seconds(0, 46); f.err != nil || !slices.Equal(f.dialed, want) {
			t.Errorf("%v, dialed at %v, want %v", f.err, f.dialed, want)
		}
	})
}

func TestSubscribeHearsComments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		comments := func(_ context.Context, w *io.PipeWriter) error {
			go func() { // ends after ten comments and a message
				io.WriteString(w, ready)
				for range 10 {
					time.Sleep(15 * time.Second) // the server's rhythm, on the bubble's clock
					io.WriteString(w, ": alive\n\n")
				}
				io.WriteString(w, msg(1))
			}()
			return nil
		}
		f := followWire(t.Context(), 1, comments)
		if f.err != nil || len(f.dialed) != 1 {
			t.Errorf("%v, dialed at %v", f.err, f.dialed)
		}
	})
}

func TestSubscribeInterruptedWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		f := followWire(ctx, 0, speaks(nil, ready), refused)
		if !errors.Is(f.err, context.Canceled) || len(f.dialed) != 2 {
			t.Errorf("%v, dialed at %v", f.err, f.dialed)
		}
	})
}

func TestSubscribeEndsWhenItsOutputDoes(t *testing.T) {
	gone := errors.New("broken pipe")
	s := &subscriber{show: func([]byte) error { return gone }}
	var stop stopError
	if done, err := s.handle(event{name: "message"}); done || !errors.As(err, &stop) || !errors.Is(err, gone) {
		t.Errorf("%v, %v", done, err)
	}
}

func TestEvents(t *testing.T) {
	rows := []struct {
		in   string
		want []string
		err  error
	}{
		{"", nil, io.EOF},
		{"data: a\n\n", []string{"message a"}, io.EOF},
		{"data:a\r\n\r\n", []string{"message a"}, io.EOF},
		{"data: a\ndata:\ndata:  b\n\n", []string{"message a\n\n b"}, io.EOF},
		{"event: ready\n\nevent: x\ndata: 1\n\ndata: 2\n\n", []string{"ready ", "x 1", "message 2"}, io.EOF},
		{": comment\n\nid: 7\nretry: 5\ndata\n\n\n\n", []string{"message "}, io.EOF},
		{"data: whole\n\ndata: cut off", []string{"message whole"}, io.EOF},
		{"data: cut off\n", nil, io.EOF},
		{"data: " + strings.Repeat("x", maxEvent), nil, errEventTooLarge},
	}
	for _, row := range rows {
		stream := newEvents(strings.NewReader(row.in), func() {})
		var got []string
		var err error
		for err == nil {
			var ev event
			if ev, err = stream.next(); err == nil {
				got = append(got, ev.name+" "+string(ev.data))
			}
		}
		if !slices.Equal(got, row.want) || !errors.Is(err, row.err) {
			t.Errorf("%.60q: %q, %v, want %q, %v", row.in, got, err, row.want, row.err)
		}
	}
}
