package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestPublish(t *testing.T) {
	servers(t, func(t *testing.T, url string) {
		st := open(t, url,
			on(tenants.Exact, "c", "second", echo), on(tenants.Exact, "c", "first", echo), on(tenants.Exact, "c.x", "first", echo),
			on(tenants.Pattern, "c.*", "all", failing),
		)
		for _, row := range []struct {
			body      string
			bytes     int
			receivers int64
			outcomes  string
		}{
			{text("c", "hi"), 2, 1, "first handled hi; second handled hi"},
			{text("c.x", "hi"), 2, 2, "all failed handler returned an error; first handled hi"},
			{text("c.y", "hi"), 2, 1, "all failed handler returned an error"},
			{text("c", ""), 0, 1, "first handled; second handled"},
			{text("c", "snow\u2603\u2028\x00"), 11, 1, "first handled snow\u2603\u2028\x00; second handled snow\u2603\u2028\x00"},
			{`{"channel":"c","payload":"\ud83d\ude00 \\ud800"}`, 11, 1, `first handled 😀 \ud800; second handled 😀 \ud800`},
			{`{"channel":"c","payload_base64":"` + base64.StdEncoding.EncodeToString([]byte("a\xffb")) + `"}`, 3, 1, "first handled a\uFFFDb; second handled a\uFFFDb"},
			{`{"channel":"c"}`, 0, 1, "first handled; second handled"},
			{`{"channel":"c","payload_base64":""}`, 0, 1, "first handled; second handled"},
			{` {"wait":"1m","channel":"c","endpoint":"main","payload":"x","payload_base64":null}` + "\n", 1, 1, "first handled x; second handled x"},
		} {
			a := st.publish(row.body)
			if a.Bytes != row.bytes || a.RedisReceivers != row.receivers || a.outcomes() != row.outcomes || a.Matched != len(a.Deliveries) || a.Pending != 0 || a.Near != nil {
				t.Errorf("%s: %+v, want %+v", row.body, a, row)
			}
			if !strings.HasPrefix(a.ID, "msg_") {
				t.Errorf("id %q", a.ID)
			}
			for _, d := range a.Deliveries {
				if d.App != "app" || d.Version != "sha256:0" || !strings.HasPrefix(d.Invocation, "inv_") {
					t.Errorf("%+v", d)
				}
			}
		}
	})
}

// Whoever listens does not matter: a message for nobody is published, and near channels are suggested.
func TestPublishToNobody(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t),
		on(tenants.Exact, "greetings", "a", echo), on(tenants.Exact, "greetings", "b", echo), on(tenants.Exact, "greeting", "b", echo),
		on(tenants.Pattern, "greetng", "c", echo), on(tenants.Exact, "orders", "c", echo),
	)
	for channel, want := range map[string]string{
		"greetngs":                  "[{greetings 2} {greeting 1}]",
		"order":                     "[{orders 1}]",
		"elsewhere":                 "[]",
		"\x00\n\u2603":              "[]",
		strings.Repeat("x", 64<<10): "[]",
	} {
		a := st.publish(text(channel, "x"))
		if got := fmt.Sprint(a.Near); got != want || a.Matched != 0 || a.RedisReceivers != 0 || a.Channel != channel || a.Deliveries == nil {
			t.Errorf("%.20q: %+v, want near %s", channel, a, want)
		}
	}
	if r := st.do("POST", "/v1/tenants/quiet/messages", text("greetngs", "x")); r.status != 200 || strings.Contains(r.body, "near") {
		t.Errorf("another tenant's channels are suggested: %s", r.body)
	}
}

// With thousands of triggers a suggestion is still one look at each name.
func TestNearAmongThousands(t *testing.T) {
	var all []scheduler.Trigger
	for i := range 5000 {
		all = append(all, on(tenants.Exact, fmt.Sprintf("%s:%d", strings.Repeat("tenant:", 100), i), "a", echo))
	}
	st := open(t, "redis://"+redistest.Embedded(t), append(all, on(tenants.Exact, "zzz", "a", echo))...)
	if a := st.publish(text("zzzz", "x")); fmt.Sprint(a.Near) != "[{zzz 1}]" {
		t.Errorf("%v", a.Near)
	}
	if a := st.publish(text(strings.Repeat("tenant:", 100)+"+1", "x")); len(a.Near) != 3 {
		t.Errorf("%v", a.Near)
	}
}

// holding handles a message when it is let.
type holding struct {
	entered chan string
	let     chan struct{}
	*handler
}

func newHolding() *holding {
	h := &holding{entered: make(chan string, 1000), let: make(chan struct{})}
	h.handler = &handler{func(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
		h.entered <- string(d.Payload())
		select {
		case <-h.let:
			return scheduler.Result{Output: []byte("let go")}
		case <-ctx.Done():
			return scheduler.Result{Outcome: tenants.Failed, Err: "cancelled"}
		}
	}}
	return h
}

// Who does not wait is told what was matched, and nothing of how it ends; who waits too short, what has ended by then.
func TestPublishWait(t *testing.T) {
	h := newHolding()
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "held", h.handler), on(tenants.Exact, "c", "quick", echo))
	a := st.publish(`{"channel":"c","payload":"0","wait":"0s"}`)
	if a.Matched != 2 || a.Pending != 2-len(a.Deliveries) || a.Pending == 0 {
		t.Errorf("0s: %+v", a)
	}
	<-h.entered
	eventually(t, "the quick one ends within a wait", func() bool {
		a := st.publish(`{"channel":"c","payload":"1","wait":"20ms"}`)
		<-h.entered
		if a.Pending < 1 || a.Matched != 2 {
			t.Errorf("20ms: %+v", a)
		}
		return a.Pending == 1 && a.outcomes() == "quick handled 1"
	})
	var late reply
	var failed error
	var all sync.WaitGroup
	all.Go(func() { late, failed = st.send(t.Context(), "POST", "messages", `{"channel":"c","payload":"2"}`) })
	<-h.entered
	close(h.let)
	if all.Wait(); failed != nil {
		t.Fatal(failed)
	}
	a = answer{}
	if late.decode(t, &a); a.Pending != 0 || a.outcomes() != "held handled let go; quick handled 2" {
		t.Errorf("10s: %+v", a)
	}
}

// A client that goes away leaves nothing behind: its message is handled, and its place is free.
func TestPublisherLeaves(t *testing.T) {
	h := newHolding()
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "held", h.handler))
	for i := range 600 { // more than there are places
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := st.send(ctx, "POST", "messages", `{"channel":"c","payload":"x","wait":"60s"}`)
			gone <- err
		}()
		if i < 16 {
			<-h.entered
		} else {
			eventually(t, "the message is there", func() bool { return st.recorder.Account(demo).Counts().Received == int64(i+1) })
		}
		cancel()
		if err := <-gone; err == nil {
			t.Fatal("an answer although the client has gone")
		}
	}
	close(h.let)
	eventually(t, "all are handled", func() bool { return st.recorder.Account(demo).Counts().Outcomes["handled"] == 600 })
	if a := st.publish(text("c", "x")); a.outcomes() != "held handled let go" {
		t.Errorf("%+v", a)
	}
}

// No more than so many publishers wait at once; one more is told to come again, and is welcome as soon as one has gone.
func TestTooManyPublishers(t *testing.T) {
	const places = 512
	h := newHolding()
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "held", h.handler))
	st.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = places
	var all sync.WaitGroup
	statuses := make(chan int, places)
	for range places {
		all.Go(func() {
			r, err := st.send(t.Context(), "POST", "messages", `{"channel":"c","payload":"x","wait":"60s"}`)
			if err != nil {
				t.Error(err)
			}
			statuses <- r.status
		})
	}
	eventually(t, "all wait", func() bool { return st.recorder.Account(demo).Counts().Received == places })
	r := st.do("POST", "messages", text("c", "x"))
	if p := r.refused(t, http.StatusTooManyRequests, "too_many_requests"); r.header.Get("Retry-After") != "1" || p.Next == "" {
		t.Errorf("%+v %v", p, r.header)
	}
	if r := st.do("GET", "triggers", ""); r.status != 200 {
		t.Errorf("others are kept out too: %d", r.status)
	}
	close(h.let)
	all.Wait()
	close(statuses)
	for status := range statuses {
		if status != 200 {
			t.Fatalf("one of those inside: %d", status)
		}
	}
	if a := st.publish(text("c", "x")); a.outcomes() != "held handled let go" {
		t.Errorf("%+v", a)
	}
}

// A message has 1 MiB at most, however it is written; so has what is read to find that out.
func TestPublishBounds(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "a", &handler{func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
		return scheduler.Result{Output: fmt.Append(nil, len(d.Payload()))}
	}}))
	const most = 1 << 20
	of := func(name, value string) string { return `{"channel":"c","` + name + `":"` + value + `"}` }
	for what, body := range map[string]string{
		"text":    of("payload", strings.Repeat("x", most)),
		"escapes": of("payload", strings.Repeat(`\u0001`, most)),
		"base64":  of("payload_base64", base64.StdEncoding.EncodeToString(make([]byte, most))),
		"spaces":  strings.Repeat(" ", most) + of("payload", strings.Repeat("x", most)),
	} {
		if a := st.publish(body); a.Bytes != most || a.outcomes() != "a handled 1048576" {
			t.Errorf("%s: %d bytes, %s", what, a.Bytes, a.outcomes())
		}
	}
	for what, body := range map[string]string{
		"text":                 of("payload", strings.Repeat("x", most+1)),
		"escapes":              of("payload", strings.Repeat(`\u0001`, most+1)),
		"base64":               of("payload_base64", base64.StdEncoding.EncodeToString(make([]byte, most+1))),
		"huge text":            of("payload", strings.Repeat("x", 8<<20)),
		"huge base64":          of("payload_base64", strings.Repeat("AAAA", 2<<20)),
		"huge before anything": strings.Repeat(" ", 8<<20) + of("payload", "x"),
		"huge after all":       of("payload", "x") + strings.Repeat(" ", 8<<20),
		"huge channel":         text(strings.Repeat("x", 8<<20), "x"),
	} {
		r := st.do("POST", "messages", body)
		if p := r.refused(t, http.StatusRequestEntityTooLarge, "message_too_large"); p.Detail != "a message may have 1048576 bytes" {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if n := st.recorder.Account(demo).Counts().Received; n != 4 {
		t.Errorf("%d messages were published, want 4", n)
	}
}

// Everything that is wrong is said at once, by its place; and nothing wrong is mended in silence.
func TestPublishRefuses(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "a", echo))
	for body, want := range map[string]string{
		``:     `"" invalid_json the body is empty`,
		` `:    `"" invalid_json the body is empty`,
		`null`: `"/channel" missing is missing`,
		`{}`:   `"/channel" missing is missing`,
		`{"channel":"","payload":null,"wait":"soon"}`: `"/channel" missing is missing; "/wait" invalid_duration "soon" is not a duration from 0s to 1m0s`,
		`{"channel":"c"`:                          `"" invalid_json unexpected EOF`,
		`channel=c`:                               `"" invalid_json invalid character 'c' looking for beginning of value`,
		`[]`:                                      `"" invalid_type must be an object, not array`,
		`"c"`:                                     `"" invalid_type must be an object, not string`,
		`{"channel":1}`:                           `"/channel" invalid_type must be a string, not number`,
		`{"channel":"c","payload":{"a":1}}`:       `"/payload" invalid_type must be a string, not object`,
		`{"channel":"c","payload":"x","wait":5}`:  `"/wait" invalid_type must be a string, not number`,
		`{"channel":"c","sharded":"yes"}`:         `"/sharded" invalid_type must be true or false, not string`,
		`{"channel":"c","payload_base64":7}`:      `"/payload_base64" invalid_type must be a string, not number`,
		`{"channel":"c","payload_base64":"a"}`:    `"/payload_base64" invalid_base64 illegal base64 data at input byte 0`,
		`{"channel":"c","payload_base64":"_-8="}`: `"/payload_base64" invalid_base64 illegal base64 data at input byte 0`,
		`{"channel":"c","payload":"x","payload_base64":""}`:        `"/payload_base64" conflict payload and payload_base64 exclude each other`,
		`{"chanel":"c","payload":"x"}`:                             `"/chanel" unknown_field is not known; did you mean "channel"?`,
		`{"channel":"c","a/b~c\"":1}`:                              `"/a~1b~0c"" unknown_field is not known; known here: channel, payload, payload_base64, endpoint, sharded, wait, headers`,
		`{"channel":"c","payload":"x"} {}`:                         `"" invalid_json something follows the message`,
		`{"channel":"c","payload":"x"}x`:                           `"" invalid_json something follows the message`,
		`{"channel":"c","payload":"x","wait":"-1s"}`:               `"/wait" invalid_duration "-1s" is not a duration from 0s to 1m0s`,
		`{"channel":"c","payload":"x","wait":"61s"}`:               `"/wait" invalid_duration "61s" is not a duration from 0s to 1m0s`,
		`{"channel":"c","payload":"x","wait":"5"}`:                 `"/wait" invalid_duration "5" is not a duration from 0s to 1m0s`,
		`{"channel":"c","payload":"x","wait":""}`:                  `"/wait" invalid_duration "" is not a duration from 0s to 1m0s`,
		`{"channel":"c","payload":"x","wait":"9999999999999999h"}`: `"/wait" invalid_duration "9999999999999999h" is not a duration from 0s to 1m0s`,
		text(strings.Repeat("x", 64<<10+1), "x"):                   `"/channel" too_long has 65537 bytes, at most 65536 are allowed`,
		"{\"channel\":\"c\",\"payload\":\"\xff\"}":                 `"" invalid_utf8 the body is not UTF-8; send other bytes as payload_base64`,
		"{\"channel\":\"c\xc3\",\"payload\":\"\"}":                 `"" invalid_utf8 the body is not UTF-8; send other bytes as payload_base64`,
		`{"channel":"c","payload":"\ud800"}`:                       `"" invalid_utf8 half of a surrogate pair (\ud800 to \udfff) is no text; send other bytes as payload_base64`,
		`{"channel":"c","payload":"\udc00\ud800"}`:                 `"" invalid_utf8 half of a surrogate pair (\ud800 to \udfff) is no text; send other bytes as payload_base64`,
		`{"channel":"c","payload":"\ud800\\udc00"}`:                `"" invalid_utf8 half of a surrogate pair (\ud800 to \udfff) is no text; send other bytes as payload_base64`,
		`{"channel":"\uDBFF","payload":""}`:                        `"" invalid_utf8 half of a surrogate pair (\ud800 to \udfff) is no text; send other bytes as payload_base64`,
		`{"channel":"c","payload":"\u12"}`:                         `"" invalid_json invalid character '"' in \u hexadecimal character escape`,
		`{"channel":"c","payload":"\`:                              `"" invalid_json unexpected EOF`,
		`{"` + strings.Repeat("x", 1000) + `":1}`:                  `"/` + strings.Repeat("x", 200) + `..." unknown_field is not known; known here: channel, payload, payload_base64, endpoint, sharded, wait, headers`,
		strings.Repeat("[", 100_000):                               `"" invalid_json invalid character '[' exceeded max depth`,
	} {
		p := st.do("POST", "messages", body).refused(t, http.StatusBadRequest, "invalid_message")
		var got []string
		for _, e := range p.Errors {
			got = append(got, fmt.Sprintf(`"%s" %s %s`, e.Pointer, e.Code, e.Detail))
		}
		if strings.Join(got, "; ") != want || p.Next == "" {
			t.Errorf("%.100q: %s\nwant %s", body, strings.Join(got, "; "), want)
		}
	}
	if n := st.recorder.Account(demo).Counts().Received; n != 0 {
		t.Errorf("%d messages were published", n)
	}
}

func TestPublishElsewhere(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "a", echo))
	p := st.do("POST", "messages", `{"channel":"c","payload":"x","endpoint":"redis://nowhere"}`).refused(t, http.StatusBadRequest, "unknown_endpoint")
	if p.Detail != "no trigger uses a server at redis://nowhere" || p.Next == "" {
		t.Errorf("%+v", p)
	}
	p = st.do("POST", "messages", `{"channel":"c","payload":"x","endpoint":"gone"}`).refused(t, http.StatusBadGateway, "redis_unavailable")
	if !strings.Contains(p.Detail, "connection refused") || !strings.Contains(p.Next, "/readyz") {
		t.Errorf("%+v", p)
	}
}

// When Redis is away a publish says so; when it is back a publish works again.
func TestPublishWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	link := redistest.Proxy(t, server.Addr)
	st := open(t, "redis://"+link.Addr, on(tenants.Exact, "c", "a", echo))
	link.Cut()
	st.do("POST", "messages", text("c", "x")).refused(t, http.StatusBadGateway, "redis_unavailable")
	link.Restore()
	eventually(t, "the trigger is active again", func() bool {
		all := st.scheduler.Triggers(demo)
		return len(all) == 1 && all[0].State == scheduler.Active
	})
	if a := st.publish(text("c", "back")); a.outcomes() != "a handled back" {
		t.Errorf("%+v", a)
	}
}

// What became of earlier messages can be asked for.
func TestInvocations(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Exact, "c", "a", echo), on(tenants.Exact, "d", "b", failing))
	if r := st.do("GET", "invocations", ""); r.body != "{\"data\":[],\"has_more\":false,\"next_cursor\":\"\"}\n" {
		t.Errorf("%s", r.body)
	}
	type invocation struct{ ID, Component, Outcome, Output, Channel, Error string }
	list := func(query string) []invocation {
		t.Helper()
		var got struct{ Data []invocation }
		r := st.do("GET", "invocations"+query, "")
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != 200 {
			t.Fatalf("%d %s %v", r.status, r.body, err)
		}
		return got.Data
	}
	for i := range 60 {
		st.publish(text("c", fmt.Sprint(i)))
	}
	failed := st.publish(text("d", "x")).Deliveries[0].Invocation
	if all := list(""); len(all) != 50 || all[0].ID != failed || all[0].Error == "" || all[1].Output != "59\n" || all[49].Output != "11\n" {
		t.Errorf("%d: %+v", len(all), all)
	}
	if all := list("?limit=2"); len(all) != 2 {
		t.Errorf("%+v", all)
	}
	if all := list("?limit=1000"); len(all) != 61 {
		t.Errorf("%d", len(all))
	}
	for _, id := range []string{failed, strings.TrimPrefix(failed, "inv_")} {
		var one invocation
		if r := st.do("GET", "invocations/"+id, ""); r.status != 200 || json.Unmarshal([]byte(r.body), &one) != nil || one.ID != failed || one.Outcome != "failed" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	for _, id := range []string{"inv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", "%ff", "..%2f..", strings.Repeat("x", 10_000)} {
		st.do("GET", "invocations/"+id, "").refused(t, http.StatusNotFound, "not_found")
	}
	st.do("GET", "/v1/tenants/quiet/invocations/"+failed, "").refused(t, http.StatusNotFound, "not_found")
	if r := st.do("GET", "/v1/tenants/quiet/invocations", ""); r.body != "{\"data\":[],\"has_more\":false,\"next_cursor\":\"\"}\n" {
		t.Errorf("another tenant sees %s", r.body)
	}
}

func TestTriggersAndUsage(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t), on(tenants.Pattern, "p.*", "b", echo), on(tenants.Exact, "c", "a", echo))
	var got struct {
		Data []struct {
			Isolation, App, Component, Version, ID, Kind, Target, Endpoint, State, Reason, Since, Breaker string
			Queued, Spilled                                                                               int
			Bytes                                                                                         int64 `json:"spilled_bytes"`
		}
		HasMore bool   `json:"has_more"`
		Next    string `json:"next_cursor"`
	}
	st.do("GET", "triggers", "").decode(t, &got)
	var all []string
	for _, d := range got.Data {
		all = append(all, strings.Join([]string{d.App, d.Component, d.Version, d.ID, d.Kind, d.Target, d.Endpoint, d.State}, " "))
		if d.Since == "" || d.Breaker != "closed" {
			t.Errorf("%+v", d)
		}
	}
	if want := []string{"app a sha256:0 a c channel c main active", "app b sha256:0 b p.* pattern p.* main active"}; !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
	st.publish(text("c", "x"))
	var usage struct {
		Counts struct {
			Received, Queued  int64
			InFlight          int64 `json:"in_flight"`
			Outcomes, Reasons map[string]int64
			Gaps              int64
			Ran               int64 `json:"ran_ns"`
			Fuel              *uint64
			Held              *float64 `json:"gb_seconds"`
		}
		Load struct {
			Queued   int
			Bytes    int64 `json:"queued_bytes"`
			Spilled  int
			OnDisk   int64 `json:"spilled_bytes"`
			InFlight int   `json:"in_flight"`
		}
		Apps map[tenants.AppName]telemetry.Used
	}
	st.do("GET", "usage", "").decode(t, &usage)
	if usage.Counts.Received != 1 || usage.Counts.Outcomes["handled"] != 1 || usage.Load.Queued != 0 || usage.Counts.Fuel == nil || usage.Counts.Held == nil || usage.Apps["app"].Invocations != 1 {
		t.Errorf("%+v", usage)
	}
	for path, want := range map[string]string{"triggers": `{"data":[],`, "usage": `"received":0`} {
		if r := st.do("GET", "/v1/tenants/quiet/"+path, ""); r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("another tenant's %s: %s", path, r.body)
		}
	}
}
