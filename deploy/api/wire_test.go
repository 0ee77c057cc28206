package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// wires are a network in synthetic time: pipes from clients to the API's server, and from the scheduler to a Redis that knows subscriptions
// and nothing else.
type wires struct {
	accepted chan net.Conn
	closed   chan struct{}

	mu    sync.Mutex
	redis net.Conn // the server's side of the last connection
	away  bool     // it refuses to connect
	deny  bool     // it refuses subscriptions
}

func (n *wires) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *wires) Close() error   { close(n.closed); return nil }
func (n *wires) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7070} }

func (n *wires) dial(context.Context) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	n.redis = theirs
	go n.serve(theirs) // ends when either side is closed
	return ours, nil
}

// serve answers in RESP 2.
func (n *wires) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		verb := strings.ToLower(words[0])
		var out strings.Builder
		n.mu.Lock()
		denied := n.deny && verb == "subscribe"
		n.mu.Unlock()
		if denied {
			out.WriteString("-NOPERM no permissions to access a channel\r\n")
			words = words[:1]
		}
		for i, name := range words[1:] {
			fmt.Fprintf(&out, "*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", len(verb), verb, len(name), name, i+1)
		}
		if verb == "ping" {
			out.WriteString("*2\r\n$4\r\npong\r\n$0\r\n\r\n")
		}
		if _, err := io.WriteString(c, out.String()); err != nil {
			return
		}
	}
}

func command(in *bufio.Reader) (words []string, err error) {
	count, err := number(in, '*')
	for range count {
		size, err := number(in, '$')
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return words, err
}

func number(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil || line[0] != kind {
		return 0, fmt.Errorf("%q, %w", line, err)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// push sends messages of a channel as one write.
func (n *wires) push(t *testing.T, channel string, payloads ...string) {
	t.Helper()
	n.mu.Lock()
	c := n.redis
	n.mu.Unlock()
	var out strings.Builder
	for _, p := range payloads {
		fmt.Fprintf(&out, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(p), p)
	}
	if _, err := io.WriteString(c, out.String()); err != nil {
		t.Error(err)
	}
}

// client connects to the API.
func (n *wires) client(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	n.accepted <- theirs
	return ours
}

// inTime plays a test in synthetic time, on a stage whose servers are pipes.
func inTime(t *testing.T, test func(t *testing.T, n *wires, st *stage)) {
	synctest.Test(t, func(t *testing.T) {
		n := &wires{accepted: make(chan net.Conn), closed: make(chan struct{})}
		st := &stage{t: t, recorder: telemetry.New(10)}
		var err error
		if st.scheduler, err = scheduler.New(scheduler.Config{Recorder: st.recorder, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		st.scheduler.SetPolicy(demo, tenants.DefaultPolicy())
		server := &http.Server{Handler: st.handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := server.Serve(n); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		test(t, n, st)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
		if _, err := st.scheduler.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// begin starts the scheduler's connection to Redis.
func (n *wires) begin(st *stage) {
	st.scheduler.AddEndpoint(scheduler.Endpoint{ID: "main", Name: "redis:6379", Dial: n.dial})
}

// get sends a request and returns the answer, whose body is still to be read.
func get(t *testing.T, c net.Conn, path string) *http.Response {
	t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), httptest.NewRequest("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

const toC = "/v1/tenants/demo/messages:subscribe?channel=c"

// An idle stream says every 15 s that it is alive, counted from the last message.
func TestKeepAlive(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		n.begin(st)
		w := newWatching(t, get(t, n.client(t), toC).Body, nil)
		w.expect("ready")
		begin := time.Now()
		at := func(want time.Duration, name string) {
			t.Helper()
			if e := w.next(); e.name != name || time.Since(begin) != want {
				t.Errorf("%+v after %v, want %q after %v", e, time.Since(begin), name, want)
			}
		}
		at(15*time.Second, "")
		at(30*time.Second, "")
		time.Sleep(5 * time.Second) // synthetic
		n.push(t, "c", "x")
		at(35*time.Second, "message")
		at(50*time.Second, "")
	})
}

// While Redis is away, the answer begins with a comment before whoever waits for it gives up; it is ready when Redis is there, and not before.
func TestReadyAfterAcknowledgement(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		n.away = true
		n.begin(st)
		begin := time.Now()
		w := newWatching(t, get(t, n.client(t), toC).Body, nil)
		if e := w.next(); e.name != "" || time.Since(begin) != 15*time.Second {
			t.Errorf("%+v after %v", e, time.Since(begin))
		}
		w.expect("")
		n.mu.Lock()
		n.away = false
		n.mu.Unlock()
		for e := w.next(); e.name != "ready"; e = w.next() {
			if e.name != "" {
				t.Errorf("%+v before Redis has acknowledged", e)
			}
		}
		if states := st.scheduler.TargetStates("main"); len(states) != 1 || states[0].State != scheduler.Active {
			t.Errorf("ready with %+v", states)
		}
		n.push(t, "c", "x")
		w.expect("message")
	})
}

// Redis comes back and refuses: the stream, which has begun, tells that and ends. Its connection is good for another request.
func TestRefusedLate(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		n.away = true
		n.begin(st)
		c := n.client(t)
		w := newWatching(t, get(t, c, toC).Body, nil)
		w.expect("")
		n.mu.Lock()
		n.away, n.deny = false, true
		n.mu.Unlock()
		e := w.next()
		for e.name == "" {
			e = w.next()
		}
		if e.name != "refused" || !strings.Contains(e.data, "NOPERM") || !strings.Contains(e.data, `"code":"subscription_refused"`) {
			t.Errorf("%+v", e)
		}
		if e, err := w.read(); err != io.EOF {
			t.Errorf("%+v, %v after the end", e, err)
		}
		if states := st.scheduler.TargetStates("main"); len(states) != 0 {
			t.Errorf("still wanted: %+v", states)
		}
		time.Sleep(time.Minute) // synthetic
		if resp := get(t, c, "/healthz"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s", resp.Status)
		}
	})
}

// A client that does not read makes nobody wait. When it reads again it is told how many messages it has missed.
func TestSlowReader(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		n.begin(st)
		w := newWatching(t, get(t, n.client(t), toC).Body, nil)
		w.expect("ready")
		const sent = 5000
		for i := range sent / 10 {
			n.push(t, "c", strings.Fields(strings.Repeat(fmt.Sprint(i, " "), 10))...)
		}
		synctest.Wait()
		seen, lost, gaps := 0, 0, 0
		for seen+lost < sent {
			switch e := w.next(); e.name {
			case "message":
				seen++
			case "gap":
				var dropped int
				if _, err := fmt.Sscanf(e.data, `{"dropped":%d}`, &dropped); err != nil || dropped < 1 {
					t.Fatalf("%+v: %v", e, err)
				}
				lost += dropped
				gaps++
			default:
				t.Fatalf("%+v", e)
			}
		}
		if seen < 1024 || lost < 1 || gaps < 1 || seen+lost != sent {
			t.Errorf("%d seen, %d lost, %d gaps", seen, lost, gaps)
		}
		n.push(t, "c", "after")
		if m := w.expect("message").message(t); *m.Payload != "after" {
			t.Errorf("%+v", m)
		}
	})
}

// One that reads nothing for half a minute is cut off, and its subscription is given up.
func TestReaderStops(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		n.begin(st)
		w := newWatching(t, get(t, n.client(t), toC).Body, nil)
		w.expect("ready")
		n.push(t, "c", "x")
		synctest.Wait()
		time.Sleep(30*time.Second - 1) // synthetic
		synctest.Wait()
		if n := len(st.scheduler.TargetStates("main")); n != 1 {
			t.Errorf("given up before its time: %d targets", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := len(st.scheduler.TargetStates("main")); n != 0 {
			t.Errorf("not given up: %d targets", n)
		}
		if e, err := w.read(); err == nil {
			t.Errorf("%+v after the end", e)
		}
	})
}

// A body that does not come holds its place for half a minute, whether its client is silent or slow.
func TestSlowBody(t *testing.T) {
	for _, bytes := range []int{0, 10, 100} {
		inTime(t, func(t *testing.T, n *wires, st *stage) {
			c := n.client(t)
			begin := time.Now()
			fmt.Fprint(c, "POST /v1/tenants/demo/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
			var sending sync.WaitGroup
			sending.Go(func() { // ends after so many seconds, or when nobody reads any more
				for range bytes {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					time.Sleep(time.Second) // synthetic
				}
			})
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			reply{resp.StatusCode, resp.Header, string(body)}.refused(t, http.StatusRequestTimeout, "request_timeout")
			if took := time.Since(begin); took != 30*time.Second {
				t.Errorf("answered after %v", took)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			sending.Wait()
		})
	}
}

// A message that was there in time may wait for its handlers longer than its body may take, and its connection is good for the next request.
func TestWaitOutlivesBody(t *testing.T) {
	inTime(t, func(t *testing.T, n *wires, st *stage) {
		h := newHolding()
		n.begin(st)
		if err := st.scheduler.Apply(demo, "app", []scheduler.Trigger{on(tenants.Exact, "c", "held", h.handler)}); err != nil {
			t.Fatal(err)
		}
		st.published = func(channel string, payload []byte) { n.push(t, channel, string(payload)) }
		synctest.Wait()
		c := n.client(t)
		in := bufio.NewReader(c)
		for range 2 {
			begin := time.Now()
			body := `{"channel":"c","payload":"x","wait":"55s"}`
			fmt.Fprintf(c, "POST /v1/tenants/demo/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var a answer
			reply{resp.StatusCode, resp.Header, string(text)}.decode(t, &a)
			if took := time.Since(begin); took != 55*time.Second || a.Pending != 1 {
				t.Errorf("after %v: %+v", took, a)
			}
		}
		close(h.let)
	})
}
