package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// query makes the parameters of a subscription: names, of which those with a star are patterns.
func query(names ...string) string {
	q := url.Values{}
	for _, name := range names {
		if strings.Contains(name, "*") {
			q.Add("pattern", name)
		} else {
			q.Add("channel", name)
		}
	}
	return q.Encode()
}

// A watcher sees what anybody publishes, handled or not, as it was published, whatever bytes its channel and payload have; and each message
// once for each of its targets.
func TestSubscribe(t *testing.T) {
	servers(t, func(t *testing.T, url string) {
		st := open(t, url, on(tenants.Exact, "orders", "a", echo))
		odd := "odd \x00\xff\r\n\u2603&+"
		w := st.watch(query("orders", "orders", "news", odd, "p.*", "p.*"))
		if e := w.expect("ready"); e.data != `{"targets":4}` {
			t.Errorf("%s", e.data)
		}
		for _, row := range []struct{ channel, pattern, payload string }{
			{"orders", "", "one"}, {"news", "", ""}, {"news", "", "\x00\xff\r\ndata: x\n\n"}, {"news", "", "<\u2028\n\nevent: gap\n>"}, {odd, "", odd},
			{"p.\xff", "p.*", "x"},
		} {
			if err := st.redis.Publish(t.Context(), row.channel, row.payload).Err(); err != nil {
				t.Fatal(err)
			}
			m := w.expect("message").message(t)
			channel, pattern, payload := m.exact()
			if channel != row.channel || pattern != row.pattern || payload != row.payload || m.Bytes != len(row.payload) || m.ReceivedAt.IsZero() {
				t.Errorf("%+v, want %+q", m, row)
			}
			if strings.ContainsRune(m.Channel, '\uFFFD') != (m.ChannelBase64 != nil) || (m.Payload == nil) != (m.PayloadBase64 != nil) {
				t.Errorf("%+v is neither text nor bytes", m)
			}
		}
		if n := st.subscribers("orders"); n != 1 {
			t.Errorf("%d connections listen to orders, want the platform's one", n)
		}
		w.stop()
		eventually(t, "nobody listens any more", func() bool { return st.subscribers("news")+st.subscribers(odd) == 0 })
		if n, err := st.redis.PubSubNumPat(t.Context()).Result(); n != 0 || err != nil {
			t.Errorf("%d patterns are left, %v", n, err)
		}
		if a := st.publish(text("orders", "two")); a.outcomes() != "a handled two" {
			t.Errorf("the trigger lost its channel: %+v", a)
		}
	})
}

// A pattern that is no text, which the embedded Redis cannot take.
func TestSubscribeToOddPattern(t *testing.T) {
	st := open(t, redistest.Start(t).URL)
	w := st.watch(query("\xfe*"))
	w.expect("ready")
	if err := st.redis.Publish(t.Context(), "\xfe\n", "x").Err(); err != nil {
		t.Fatal(err)
	}
	m := w.expect("message").message(t)
	if channel, pattern, payload := m.exact(); channel != "\xfe\n" || pattern != "\xfe*" || payload != "x" {
		t.Errorf("%+v", m)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	for q, want := range map[string]string{
		"":                                     "a subscription has 1 to 64 channels, patterns and sharded channels",
		"endpoint=main":                        "a subscription has 1 to 64 channels, patterns and sharded channels",
		query(many...):                         "a subscription has 1 to 64 channels, patterns and sharded channels",
		"channel=":                             "a channel has 1 to 65536 bytes, not 0",
		"channel=c&pattern":                    "a pattern has 1 to 65536 bytes, not 0",
		"chanel=c":                             `unknown parameter "chanel"; did you mean "channel"?`,
		"channel=c&count=5":                    `unknown parameter "count"; known here: channel, pattern, sharded, endpoint`,
		"channel=%":                            `read parameters: invalid URL escape "%"`,
		"channel=a;b":                          "read parameters: invalid semicolon separator in query",
		query(strings.Repeat("x", 64<<10+1)):   "a channel has 1 to 65536 bytes, not 65537",
		query(strings.Repeat("\xff", 100_000)): "the parameters have 300008 bytes, at most 262144 are read",
	} {
		if p := st.do("GET", "messages:subscribe?"+q, "").refused(t, http.StatusBadRequest, "invalid_subscription"); p.Detail != want || p.Next == "" {
			t.Errorf("%.100s: %.200s, want %s", q, p.Detail, want)
		}
	}
	for q, want := range map[string]string{
		"channel=c&endpoint=redis://nowhere": "no trigger uses a server at redis://nowhere",
		"channel=c&endpoint=gone":            `tap: unknown endpoint "gone"`,
		query("gone.c"):                      `tap: unknown endpoint "gone"`,
		query("c", "gone.c"):                 `triggers listen to "c" and "gone.c" on different servers: name one of them as endpoint, or subscribe to each by itself`,
	} {
		if p := st.do("GET", "messages:subscribe?"+q, "").refused(t, http.StatusBadRequest, "unknown_endpoint"); p.Detail != want || p.Next == "" {
			t.Errorf("%s: %s, want %s", q, p.Detail, want)
		}
	}
	w := st.watch(query("c", "gone.c") + "&endpoint=main")
	w.expect("ready")
}

// What 64 targets of one subscription can be: each is counted once.
func TestSubscribeToMany(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	many := make([]string, 64)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	w := st.watch(query(append(many, many...)...))
	if e := w.expect("ready"); e.data != `{"targets":64}` {
		t.Errorf("%s", e.data)
	}
	st.publish(text("c63", "x"))
	w.expect("message")
}

// HEAD is asked by those who want to know what is there, not to watch.
func TestSubscribeHead(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	r := st.do("HEAD", "messages:subscribe?channel=c", "")
	if r.status != 200 || r.header.Get("Content-Type") != "text/event-stream" || r.body != "" || st.subscribers("c") != 0 {
		t.Errorf("%+v", r)
	}
	if r := st.do("HEAD", "messages:subscribe?chanel=c", ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

// A channel that Redis does not grant is an answer, not a stream that stays silent; and it costs other watchers nothing.
func TestSubscribeRefusedByRedis(t *testing.T) {
	server := redistest.Start(t, "--user", "app", "on", ">pw", "resetchannels", "&open.*", "+ping", "+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe", "+client", "+hello", "+publish", "+pubsub")
	st := open(t, server.As("app", "pw"), on(tenants.Exact, "open.c", "a", echo))
	other := st.watch(query("open.d"))
	other.expect("ready")
	for _, names := range [][]string{{"secret"}, {"open.d", "secret"}, {"secret*"}} {
		p := st.do("GET", "messages:subscribe?"+query(names...), "").refused(t, http.StatusBadGateway, "subscription_refused")
		if !strings.Contains(p.Detail, `"secret`) || !strings.Contains(p.Detail, "NOPERM") || p.Next == "" {
			t.Errorf("%v: %+v", names, p)
		}
	}
	if a := st.publish(text("open.c", "x")); a.outcomes() != "a handled x" {
		t.Errorf("%+v", a)
	}
	st.publish(text("open.d", "x"))
	other.expect("message")
}

// The server's connection to Redis breaks and comes back: the stream goes on.
func TestSubscribeOutlivesRedis(t *testing.T) {
	server := redistest.Start(t)
	link := redistest.Proxy(t, server.Addr)
	st := open(t, "redis://"+link.Addr)
	w := st.watch(query("c"))
	w.expect("ready")
	link.Cut()
	eventually(t, "the loss is noticed", func() bool {
		states := st.scheduler.TargetStates("main")
		return len(states) == 1 && states[0].State == scheduler.Reconnecting
	})
	link.Restore()
	eventually(t, "the channel is active again", func() bool { return st.scheduler.TargetStates("main")[0].State == scheduler.Active })
	st.publish(text("c", "back"))
	if m := w.expect("message").message(t); *m.Payload != "back" {
		t.Errorf("%+v", m)
	}
}

// The program ends: streams end with it, and with them their subscriptions.
func TestServerEndsStreams(t *testing.T) {
	for _, end := range []string{"close", "base context"} {
		t.Run(end, func(t *testing.T) {
			st := raise(t, "redis://"+redistest.Embedded(t))
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := &http.Server{Handler: st.handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
			var serving sync.WaitGroup
			serving.Go(func() {
				if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			resp, err := http.Get("http://" + listener.Addr().String() + "/v1/tenants/demo/messages:subscribe?channel=c")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if end == "close" {
				err = server.Close()
			} else {
				cancel()
				err = server.Shutdown(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); (err == nil) != (end == "base context") {
				t.Errorf("the stream ends with %v", err)
			}
			serving.Wait()
			eventually(t, "nobody listens any more", func() bool { return st.subscribers("c") == 0 })
		})
	}
}

// No more than so many streams are open at once, and one that ends makes room.
func TestTooManyStreams(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	var last *watching
	for i := range 256 {
		last = st.watch(query(fmt.Sprint("c", i)))
		last.expect("ready")
	}
	r := st.do("GET", "messages:subscribe?channel=c", "")
	r.refused(t, http.StatusTooManyRequests, "too_many_requests")
	if r.header.Get("Retry-After") != "1" || st.subscribers("c") != 0 {
		t.Errorf("%v", r.header)
	}
	last.stop()
	eventually(t, "its place is free", func() bool { return st.subscribers("c255") == 0 })
	eventually(t, "another may come", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := st.request(ctx, "GET", "messages:subscribe?channel=c", "")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := st.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
