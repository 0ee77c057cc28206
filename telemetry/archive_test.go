package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

func archive(t testing.TB, c telemetry.ArchiveConfig) (*telemetry.Archive, *telemetry.Recorder) {
	t.Helper()
	a, err := telemetry.OpenArchive(c)
	if err != nil {
		t.Fatal(err)
	}
	r := telemetry.New(10)
	r.Keep(a)
	return a, r
}

func closed(t testing.TB, a *telemetry.Archive) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// store has one invocation kept whatever the rates say.
func store(r *telemetry.Recorder, rec telemetry.Record) tenants.InvocationID {
	rec.Awaited = true
	if rec.Trigger == nil {
		rec.Trigger = trigger("a", "orders:*")
	}
	if rec.Received.IsZero() {
		rec.Received = time.Now()
	}
	rec.Invocation = tenants.InvocationID(ids.Next(rec.Received))
	r.Account(rec.Trigger.Tenant).Record(&rec)
	return rec.Invocation
}

func listed(all []telemetry.Invocation) (out []string) {
	for _, in := range all {
		out = append(out, in.ID)
	}
	return out
}

// TestArchiveKeepsWhole: what is read back over a restart is what a Record's own copy is, with the payload's beginning for who asks for one.
func TestArchiveKeepsWhole(t *testing.T) {
	dir := t.TempDir()
	a, r := archive(t, telemetry.ArchiveConfig{Dir: dir})
	long := make([]byte, 3*telemetry.MaxKeptPayload)
	for i := range long {
		long[i] = byte(i)
	}
	rec := telemetry.Record{
		Trigger: trigger("a", "orders:*"), Channel: []byte("orders:new"), Bytes: len(long), Payload: long, Received: time.Now().UTC().Round(0), Waited: time.Millisecond,
		Ran: 20 * time.Millisecond, Started: time.Millisecond, Instance: telemetry.Cold, Outcome: tenants.Failed, Err: "trap", Output: []byte("ok\n\xff"), Truncated: 3, Memory: 1 << 20, Fuel: 99,
		Attempt: 2, Calls: []telemetry.Call{{System: "http", Operation: "GET", Server: "api:443", Began: time.Now(), Took: time.Millisecond, Status: 500, Failed: true}},
	}
	rec.Invocation = tenants.InvocationID(ids.Next(rec.Received))
	want := rec.Keep()
	r.Account("a").Record(&rec)
	clear(rec.Channel)
	clear(rec.Output)
	want.Payload = slices.Clone(long[:telemetry.MaxKeptPayload])
	clear(long)
	for range 2 {
		got, ok := a.Find("a", rec.Invocation)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n%+v, want\n%+v", ok, got, want)
		}
		if all := a.Select("a", 10, telemetry.Filter{}); len(all) != 1 || all[0].Payload != nil {
			t.Errorf("%+v", all)
		}
		if _, ok := a.Find("b", rec.Invocation); ok || len(a.Select("b", 10, telemetry.Filter{})) != 0 {
			t.Error("another tenant sees it")
		}
		closed(t, a)
		a, _ = archive(t, telemetry.ArchiveConfig{Dir: dir})
	}
	if _, err := telemetry.OpenArchive(telemetry.ArchiveConfig{Dir: dir}); !errors.Is(err, telemetry.ErrInUse) {
		t.Errorf("a second process: %v", err)
	}
	closed(t, a)
}

// TestArchiveSelects holds lists with random filters and pages against a plain loop, before and after a restart.
func TestArchiveSelects(t *testing.T) {
	dir, rnd := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	a, r := archive(t, telemetry.ArchiveConfig{Dir: dir})
	begin := time.Now().Add(-time.Hour)
	var model []telemetry.Record
	for n := range 2000 {
		tr := *trigger("a", "*")
		tr.App, tr.Version, tr.Component = tenants.AppName(fmt.Sprint("app", rnd.IntN(3))), tenants.VersionID(fmt.Sprint("sha256:", rnd.IntN(2))), tenants.ComponentID(fmt.Sprint("c", rnd.IntN(2)))
		rec := telemetry.Record{Trigger: &tr, Received: begin.Add(time.Duration(n) * time.Second), Ran: time.Duration(rnd.IntN(100)) * time.Millisecond, Channel: fmt.Append(nil, "ch", rnd.IntN(4)),
			Outcome: []tenants.Outcome{tenants.Handled, tenants.Handled, tenants.Failed, tenants.TimedOut}[rnd.IntN(4)]}
		rec.Invocation = store(r, rec)
		model = append(model, rec)
	}
	failed := tenants.Failed
	for round := range 60 {
		if round == 30 {
			closed(t, a)
			a, _ = archive(t, telemetry.ArchiveConfig{Dir: dir})
		}
		var f telemetry.Filter
		for _, set := range []func(){
			func() { f.App = "app1" }, func() { f.Version = "sha256:0" }, func() { f.Component = "c1" }, func() { f.Channels = []string{"ch1", "a:ch1"} },
			func() { f.Outcome = &failed }, func() { f.Failed = true }, func() { f.AtLeast = 50 * time.Millisecond }, func() { f.LessThan = 80 * time.Millisecond },
			func() { f.Since = begin.Add(200 * time.Second) }, func() { f.Until = begin.Add(1500 * time.Second) },
		} {
			if rnd.IntN(4) == 0 {
				set()
			}
		}
		var want, got []string
		for _, rec := range slices.Backward(model) {
			if f.Takes(&rec) {
				want = append(want, rec.Invocation.String())
			}
		}
		for page := 50 + rnd.IntN(500); ; {
			some := a.Select("a", page, f)
			got = append(got, listed(some)...)
			if len(some) < page {
				break
			}
			last, err := tenants.ParseULID(some[page-1].ID[len("inv_"):])
			if err != nil {
				t.Fatal(err)
			}
			f.After = tenants.InvocationID(last)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: %d, want %d", f, len(got), len(want))
		}
	}
	closed(t, a)
}

// TestArchiveIsBounded: of each application the last handled ones, and every failed one, until count and bytes are used up. Then the oldest go.
func TestArchiveIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := telemetry.ArchiveConfig{Dir: dir, Handled: 20, Bytes: 256 << 10, Most: 5000}
	a, r := archive(t, c)
	quiet, loud := *trigger("a", "*"), *trigger("a", "*")
	quiet.App, loud.App = "quiet", "loud"
	var failed []string
	first := store(r, telemetry.Record{Trigger: &quiet}).String()
	for n := range 5000 {
		rec := telemetry.Record{Trigger: &loud, Output: make([]byte, 200)}
		if n%500 == 0 {
			rec.Outcome = tenants.Failed
		}
		if id := store(r, rec).String(); rec.Outcome == tenants.Failed {
			failed = append(failed, id)
		}
		if n%100 == 0 {
			a.Flush()
		}
	}
	slices.Reverse(failed)
	check := func() {
		t.Helper()
		if got := listed(a.Select("a", 100, telemetry.Filter{Failed: true})); !slices.Equal(got, failed) {
			t.Errorf("failed: %d, want %d", len(got), len(failed))
		}
		handled := tenants.Handled
		if got := a.Select("a", 100, telemetry.Filter{App: "loud", Outcome: &handled}); len(got) != 20 {
			t.Errorf("%d of the loud app", len(got))
		}
		if got := listed(a.Select("a", 100, telemetry.Filter{App: "quiet"})); !slices.Equal(got, []string{first}) {
			t.Errorf("of the quiet app: %v", got)
		}
		kept, bytes, lost, _ := a.Counts()
		if kept != 20+1+len(failed) || bytes > c.Bytes || lost != 0 {
			t.Errorf("%d kept in %d bytes, %d lost", kept, bytes, lost)
		}
	}
	check()
	closed(t, a)
	a, r = archive(t, c)
	if kept, _, _, _ := a.Counts(); kept < 20+1+len(failed) {
		t.Errorf("%d after a restart", kept)
	}
	for n := range 3000 { // half of the bytes are used up by failed ones: the oldest go
		store(r, telemetry.Record{Trigger: &loud, Outcome: tenants.Failed, Err: fmt.Sprint(n), Output: make([]byte, 200)})
		if n%100 == 0 {
			a.Flush()
		}
	}
	a.Flush()
	if kept, bytes, _, _ := a.Counts(); bytes > c.Bytes || kept > c.Most || kept < 20 {
		t.Errorf("%d kept in %d bytes", kept, bytes)
	}
	if all := a.Select("a", 1, telemetry.Filter{}); len(all) != 1 || all[0].Error != "2999" {
		t.Errorf("the last one is %+v", all)
	}
	closed(t, a)
}

// TestArchiveAge: what is too old is not shown.
func TestArchiveAge(t *testing.T) {
	a, r := archive(t, telemetry.ArchiveConfig{Dir: t.TempDir(), Age: time.Hour})
	store(r, telemetry.Record{Received: time.Now().Add(-2 * time.Hour)})
	young := store(r, telemetry.Record{}).String()
	if got := listed(a.Select("a", 10, telemetry.Filter{})); !slices.Equal(got, []string{young}) {
		t.Errorf("%v", got)
	}
	closed(t, a)
}

// TestArchiveTornTail: a segment that was cut anywhere gives what is whole, and is written on behind it.
func TestArchiveTornTail(t *testing.T) {
	dir := t.TempDir()
	a, r := archive(t, telemetry.ArchiveConfig{Dir: dir})
	var all []string
	for range 3 {
		all = append(all, store(r, telemetry.Record{}).String())
	}
	closed(t, a)
	file := filepath.Join(dir, "00000001.seg")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	record := len(text) / 3
	for cut := 0; cut <= len(text); cut += 41 {
		if err := os.WriteFile(file, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		a, r := archive(t, telemetry.ArchiveConfig{Dir: dir})
		want := slices.Clone(all[:cut/record])
		want = append(want, store(r, telemetry.Record{}).String())
		closed(t, a)
		a, _ = archive(t, telemetry.ArchiveConfig{Dir: dir})
		slices.Reverse(want)
		if got := listed(a.Select("a", 10, telemetry.Filter{})); !slices.Equal(got, want) {
			t.Fatalf("cut at %d of %d: %v, want %v", cut, len(text), got, want)
		}
		closed(t, a)
	}
}

// TestArchiveRates: a loud application's invocations are cut, and counted; a quiet one's are all there; nobody waits, and nothing is lost unsaid.
func TestArchiveRates(t *testing.T) {
	a, r := archive(t, telemetry.ArchiveConfig{Dir: t.TempDir(), Handled: 10_000})
	loud, quiet := *trigger("a", "*"), *trigger("a", "*")
	loud.App, quiet.App = "loud", "quiet"
	now := time.Now()
	const n = 3000
	for range n { // in one instant
		r.Account("a").Record(&telemetry.Record{Trigger: &loud, Invocation: tenants.InvocationID(ids.Next(now)), Received: now})
	}
	for range 10 {
		r.Account("a").Record(&telemetry.Record{Trigger: &quiet, Invocation: tenants.InvocationID(ids.Next(now)), Received: now})
	}
	if got := len(a.Select("a", 100, telemetry.Filter{App: "quiet"})); got != 10 {
		t.Errorf("%d of the quiet app", got)
	}
	if kept, _, lost, cut := a.Counts(); int64(kept)+lost+cut != n+10 || cut == 0 || lost != 0 {
		t.Errorf("%d kept, %d lost, %d cut", kept, lost, cut)
	}
	closed(t, a)
}

// TestArchiveHammer has many record, list and find while segments come and go.
func TestArchiveHammer(t *testing.T) {
	a, r := archive(t, telemetry.ArchiveConfig{Dir: t.TempDir(), Bytes: 256 << 10, Handled: 50})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			own := trigger(tenants.ID(fmt.Sprint("t", w%2)), "*")
			for n := range 1500 {
				id := store(r, telemetry.Record{Trigger: own, Outcome: tenants.Outcome(n % 2), Output: make([]byte, 100)})
				if n%50 == 0 {
					if in, ok := a.Find(own.Tenant, id); ok && (in.Tenant != own.Tenant || in.ID != id.String()) {
						t.Errorf("%+v", in)
					}
					for _, in := range a.Select(own.Tenant, 20, telemetry.Filter{}) {
						if in.Tenant != own.Tenant {
							t.Errorf("%s sees %+v", own.Tenant, in)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	cancel()
	<-ended
	closed(t, a)
}
