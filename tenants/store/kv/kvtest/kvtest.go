// Package kvtest holds every body of kv.Store to the contract.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// Backend is how a test gets at one kind of store.
type Backend struct {
	Open    func(t *testing.T) kv.Store             // an empty one, closed when the test ends
	Reopen  func(t *testing.T, s kv.Store) kv.Store // closes s and opens the same records again
	Compact func(t *testing.T, s kv.Store) kv.Store // makes the store forget which keys its commits so far have changed
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b Backend)
	}{
		{"GetAndCommit", testCommit}, {"Conditions", testConditions}, {"Bounds", testBounds}, {"List", testList}, {"Model", testModel},
		{"Reopen", testReopen}, {"Snapshot", testSnapshot}, {"Watch", testWatch}, {"WatchReset", testWatchReset}, {"WatchEnds", testWatchEnds},
		{"WatchSurvivesReopen", testWatchSurvivesReopen}, {"WatchSlow", testWatchSlow}, {"Hammer", testHammer}, {"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

func put(t *testing.T, s kv.Store, pairs ...string) kv.Revision {
	t.Helper()
	var writes []kv.Write
	for i := 0; i < len(pairs); i += 2 {
		writes = append(writes, kv.Write{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	rev, err := s.Commit(t.Context(), nil, writes)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func text(records []kv.Record) string {
	var parts []string
	for _, r := range records {
		switch {
		case r.Value == nil:
			parts = append(parts, r.Key+"!")
		default:
			parts = append(parts, r.Key+"="+string(r.Value))
		}
	}
	return strings.Join(parts, " ")
}

func testCommit(t *testing.T, b Backend) {
	s := b.Open(t)
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("Get from nothing: %v", err)
	}
	first := put(t, s, "a", "1", "b", "2")
	second := put(t, s, "b", "3")
	if first <= 0 || second <= first {
		t.Fatalf("revisions %d, %d", first, second)
	}
	for _, want := range []kv.Record{{Key: "a", Value: []byte("1"), Revision: first}, {Key: "b", Value: []byte("3"), Revision: second}} {
		got, err := s.Get(t.Context(), want.Key)
		if err != nil || string(got.Value) != string(want.Value) || got.Revision != want.Revision {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		got.Value[0] = 'x' // what came out is the caller's
	}
	if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "a"}, {Key: "never there"}, {Key: "empty", Value: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
	if got, err := s.Get(t.Context(), "empty"); err != nil || got.Value == nil || len(got.Value) != 0 {
		t.Errorf("an empty value: %v, %v", got.Value, err)
	}
	if got, err := s.Get(t.Context(), "b"); err != nil || string(got.Value) != "3" {
		t.Errorf("%+v, %v", got, err)
	}
}

func testConditions(t *testing.T, b Backend) {
	s := b.Open(t)
	rev := put(t, s, "a", "1")
	for _, row := range []struct {
		name       string
		conditions []kv.Condition
		conflict   string
	}{
		{"right", []kv.Condition{{Key: "a", Revision: rev}, {Key: "b"}}, ""},
		{"not there", []kv.Condition{{Key: "b", Revision: rev}}, "b"},
		{"there", []kv.Condition{{Key: "a"}}, "a"},
		{"older", []kv.Condition{{Key: "c"}, {Key: "a", Revision: rev - 1}}, "a"},
	} {
		_, err := s.Commit(t.Context(), row.conditions, nil)
		var c *kv.Conflict
		if row.conflict == "" && err != nil || row.conflict != "" && (!errors.As(err, &c) || c.Key != row.conflict) {
			t.Errorf("%s, without writes: %v", row.name, err)
		}
		if row.conflict == "" {
			continue
		}
		if _, err := s.Commit(t.Context(), row.conditions, []kv.Write{{Key: "a", Value: []byte("2")}, {Key: "d", Value: []byte("2")}}); !errors.As(err, &c) || c.Key != row.conflict {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	all, err := s.List(t.Context(), kv.Range{})
	if err != nil || text(all) != "a=1" {
		t.Errorf("a refused commit wrote: %s, %v", text(all), err)
	}
	if _, err := s.Commit(t.Context(), []kv.Condition{{Key: "a", Revision: rev}}, []kv.Write{{Key: "a"}}); err != nil {
		t.Fatal(err)
	}
	again := put(t, s, "a", "1")
	if _, err := s.Commit(t.Context(), []kv.Condition{{Key: "a", Revision: rev}}, []kv.Write{{Key: "a"}}); err == nil || again == rev {
		t.Error("a key that was deleted and made again passes for the old one")
	}
}

func testBounds(t *testing.T, b Backend) {
	s := b.Open(t)
	many := make([]kv.Write, kv.MaxOperations)
	conditions := make([]kv.Condition, kv.MaxOperations)
	for i := range many {
		many[i] = kv.Write{Key: fmt.Sprintf("many/%03d%s", i, strings.Repeat("k", 500)), Value: make([]byte, 8000)}
		conditions[i] = kv.Condition{Key: many[i].Key}
	}
	if _, err := s.Commit(t.Context(), conditions, many); err != nil {
		t.Fatalf("as much as is allowed: %v", err)
	}
	if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "big", Value: make([]byte, kv.MaxValue)}}); err != nil {
		t.Fatalf("as big as is allowed: %v", err)
	}
	for name, writes := range map[string][]kv.Write{
		"writes":    append(slices.Clone(many), kv.Write{Key: "x"}),
		"value":     {{Key: "x", Value: make([]byte, kv.MaxValue+1)}},
		"key":       {{Key: strings.Repeat("x", kv.MaxKey+1), Value: []byte("1")}},
		"empty key": {{Value: []byte("1")}},
		"together":  {{Key: "x", Value: make([]byte, kv.MaxValue)}, {Key: "y", Value: make([]byte, kv.MaxValue)}, {Key: "z", Value: make([]byte, 1)}},
	} {
		if _, err := s.Commit(t.Context(), nil, writes); !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "x"}, {Key: "x", Value: []byte("1")}}); err == nil {
		t.Error("a key can be written twice in one commit")
	}
	if _, err := s.Get(t.Context(), "x"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a refused commit wrote: %v", err)
	}
}

func testList(t *testing.T, b Backend) {
	s := b.Open(t)
	put(t, s, "a/1", "A", "a/2", "B", "a/3", "C", "a0", "D", "b", "E", "a", "F", "\xff\xff", "G")
	for _, row := range []struct {
		r    kv.Range
		want string
	}{
		{kv.Range{}, "a=F a/1=A a/2=B a/3=C a0=D b=E \xff\xff=G"},
		{kv.Range{Prefix: "a/"}, "a/1=A a/2=B a/3=C"},
		{kv.Range{Prefix: "a/", Limit: 2}, "a/1=A a/2=B"},
		{kv.Range{Prefix: "a/", After: "a/2"}, "a/3=C"},
		{kv.Range{Prefix: "a/", After: "a/15"}, "a/2=B a/3=C"},
		{kv.Range{Prefix: "a/", After: "a/3"}, ""},
		{kv.Range{Prefix: "a/", After: "Z"}, "a/1=A a/2=B a/3=C"},
		{kv.Range{Prefix: "a/", Reverse: true}, "a/3=C a/2=B a/1=A"},
		{kv.Range{Prefix: "a/", Reverse: true, Limit: 1}, "a/3=C"},
		{kv.Range{Prefix: "a/", Reverse: true, After: "a/2"}, "a/1=A"},
		{kv.Range{Prefix: "a/", Reverse: true, After: "a/1"}, ""},
		{kv.Range{Prefix: "a/", Reverse: true, After: "z"}, "a/3=C a/2=B a/1=A"},
		{kv.Range{Prefix: "b", Reverse: true}, "b=E"},
		{kv.Range{Prefix: "\xff", Reverse: true}, "\xff\xff=G"},
		{kv.Range{Reverse: true, Limit: 2}, "\xff\xff=G b=E"},
		{kv.Range{Prefix: "c"}, ""},
		{kv.Range{Prefix: "a/", KeysOnly: true}, "a/1! a/2! a/3!"},
	} {
		got, err := s.List(t.Context(), row.r)
		if err != nil || text(got) != row.want {
			t.Errorf("%+v: %s, %v, want %s", row.r, text(got), err, row.want)
		}
		for _, r := range got {
			if r.Revision == 0 {
				t.Errorf("%+v: %s has no revision", row.r, r.Key)
			}
		}
	}
}

// Random operations against a map.
func testModel(t *testing.T, b Backend) {
	s := b.Open(t)
	r := rand.New(rand.NewPCG(3, 4))
	type entry struct {
		value string
		rev   kv.Revision
	}
	model := map[string]entry{}
	for i := range 300 {
		var conditions []kv.Condition
		var writes []kv.Write
		holds := true
		for range 1 + r.IntN(4) {
			key := fmt.Sprintf("k%02d", r.IntN(12))
			if slices.ContainsFunc(writes, func(w kv.Write) bool { return w.Key == key }) {
				continue
			}
			c := kv.Condition{Key: key, Revision: model[key].rev}
			if r.IntN(8) == 0 {
				c.Revision++
				holds = false
			}
			conditions = append(conditions, c)
			w := kv.Write{Key: key}
			if r.IntN(3) > 0 {
				w.Value = fmt.Appendf(nil, "%d", i)
			}
			writes = append(writes, w)
		}
		rev, err := s.Commit(t.Context(), conditions, writes)
		if (err == nil) != holds {
			t.Fatalf("step %d: %v, conditions hold: %v", i, err, holds)
		}
		for _, w := range writes {
			switch {
			case !holds:
			case w.Value == nil:
				delete(model, w.Key)
			default:
				model[w.Key] = entry{string(w.Value), rev}
			}
		}
	}
	all, err := s.List(t.Context(), kv.Range{})
	if err != nil || len(all) != len(model) {
		t.Fatalf("%d records, %v, want %d", len(all), err, len(model))
	}
	for _, r := range all {
		if want := model[r.Key]; string(r.Value) != want.value || r.Revision != want.rev {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
}

func testReopen(t *testing.T, b Backend) {
	s := b.Open(t)
	rev := put(t, s, "a", "1")
	s = b.Reopen(t, s)
	if got, err := s.Get(t.Context(), "a"); err != nil || got.Revision != rev {
		t.Fatalf("%+v, %v", got, err)
	}
	if next := put(t, s, "a", "2"); next <= rev {
		t.Errorf("revision %d after %d", next, rev)
	}
}

func testSnapshot(t *testing.T, b Backend) {
	s := b.Open(t)
	var want []string
	for i := range 2500 {
		want = append(want, fmt.Sprintf("k%05d", i))
	}
	for chunk := range slices.Chunk(want, 100) {
		var pairs []string
		for _, k := range chunk {
			pairs = append(pairs, k, "old")
		}
		put(t, s, pairs...)
	}
	var got []string
	rev, err := s.Snapshot(t.Context(), func(r kv.Record) error {
		if len(got) == 10 { // what is written meanwhile is not seen
			if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "k02499", Value: []byte("new")}, {Key: "k99999", Value: []byte("new")}}); err != nil {
				return err
			}
		}
		if string(r.Value) != "old" {
			return fmt.Errorf("%s is %s", r.Key, r.Value)
		}
		got = append(got, r.Key)
		return nil
	})
	if err != nil || rev == 0 || !slices.Equal(got, want) {
		t.Errorf("%d records as of %d, %v", len(got), rev, err)
	}
	stop := errors.New("stop")
	if _, err := s.Snapshot(t.Context(), func(kv.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that stops: %v", err)
	}
}

// follower keeps a copy of a prefix by a watch.
type follower struct {
	records map[string]string
	resets  int
	at      kv.Revision
}

func (f *follower) apply(b kv.Batch) {
	if b.Reset {
		f.records = map[string]string{}
		f.resets++
	}
	for _, r := range b.Records {
		if r.Value == nil {
			delete(f.records, r.Key)
		} else {
			f.records[r.Key] = string(r.Value)
		}
	}
	f.at = b.Revision
}

// follow watches until done says so.
func follow(t *testing.T, s kv.Store, prefix string, f *follower, done func() bool) {
	t.Helper()
	for b, err := range s.Watch(t.Context(), prefix, f.at) {
		if err != nil {
			t.Fatal(err)
		}
		f.apply(b)
		if done() {
			return
		}
	}
}

func testWatch(t *testing.T, b Backend) {
	s := b.Open(t)
	put(t, s, "a/1", "old", "b/1", "old")
	var f follower
	step := 0
	follow(t, s, "a/", &f, func() bool {
		step++
		switch step {
		case 1:
			if f.resets != 1 || len(f.records) != 1 || f.records["a/1"] != "old" {
				t.Errorf("at the beginning: %+v", f)
			}
			put(t, s, "b/2", "elsewhere")
			put(t, s, "a/2", "1")
		case 2:
			if f.records["a/2"] != "1" {
				t.Errorf("after a write: %+v", f)
			}
			put(t, s, "a/2", "2", "a/1", "new")
		}
		if f.records["a/2"] == "2" && f.records["a/1"] == "new" {
			if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "a/1"}}); err != nil {
				t.Fatal(err)
			}
		}
		_, there := f.records["a/1"]
		return step > 2 && !there
	})
	if f.resets != 1 || len(f.records) != 1 {
		t.Errorf("at the end: %+v", f)
	}
	// From where one stopped: no reset, nothing left out.
	put(t, s, "a/9", "x")
	follow(t, s, "a/", &f, func() bool { return f.records["a/9"] == "x" })
	if f.resets != 1 || len(f.records) != 2 {
		t.Errorf("taken up again: %+v", f)
	}
}

func testWatchReset(t *testing.T, b Backend) {
	s := b.Open(t)
	rev := put(t, s, "a/1", "1", "a/2", "1")
	f := follower{records: map[string]string{"a/1": "1", "a/2": "1"}, at: rev}
	if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "a/1"}, {Key: "a/3", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "z", "1")
	s = b.Compact(t, s)
	follow(t, s, "a/", &f, func() bool { return true })
	if f.resets != 1 || len(f.records) != 2 || f.records["a/3"] != "1" {
		t.Errorf("behind what is known: %+v", f)
	}
	f.at += 1_000_000
	follow(t, s, "a/", &f, func() bool { return true })
	if f.resets != 2 || f.at > rev+100 {
		t.Errorf("ahead of the store: %+v", f)
	}
	put(t, s, "a/4", "1")
	follow(t, s, "a/", &f, func() bool { return f.records["a/4"] == "1" })
	if f.resets != 2 {
		t.Errorf("after a reset: %+v", f)
	}
}

func testWatchEnds(t *testing.T, b Backend) {
	s := b.Open(t)
	put(t, s, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended error
	for _, err := range s.Watch(ctx, "", 0) {
		if err != nil {
			ended = err
			continue
		}
		cancel()
	}
	if !errors.Is(ended, context.Canceled) {
		t.Errorf("with its context: %v", ended)
	}
	ended = nil
	for _, err := range s.Watch(t.Context(), "", 0) {
		if err != nil {
			ended = err
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if !errors.Is(ended, kv.ErrClosed) {
		t.Errorf("with its store: %v", ended)
	}
}

func testWatchSurvivesReopen(t *testing.T, b Backend) {
	s := b.Open(t)
	var f follower
	put(t, s, "a", "1")
	follow(t, s, "", &f, func() bool { return true })
	put(t, s, "b", "2")
	s = b.Reopen(t, s)
	put(t, s, "c", "3")
	follow(t, s, "", &f, func() bool { return len(f.records) == 3 })
	if f.resets != 1 {
		t.Errorf("%+v", f)
	}
}

// A reader that stands still while much is written still gets to the end of it.
func testWatchSlow(t *testing.T, b Backend) {
	s := b.Open(t)
	put(t, s, "k", "start")
	var f follower
	const n = 1500
	batches := 0
	follow(t, s, "", &f, func() bool {
		batches++
		if batches == 1 {
			for i := 0; i < n; i += 50 {
				var pairs []string
				for j := i; j < i+50; j++ {
					pairs = append(pairs, fmt.Sprintf("k%04d", j%1200), fmt.Sprint(j))
				}
				put(t, s, pairs...)
			}
		}
		return len(f.records) == 1201 && f.records[fmt.Sprintf("k%04d", (n-1)%1200)] == fmt.Sprint(n-1)
	})
	if len(f.records) != 1201 {
		t.Errorf("%d records after %d batches", len(f.records), batches)
	}
	for i := n - 1200; i < n; i++ {
		if got := f.records[fmt.Sprintf("k%04d", i%1200)]; got != fmt.Sprint(i) {
			t.Fatalf("k%04d is %s, want %d", i%1200, got, i)
		}
	}
}

// Many add to one counter under conditions, while others watch: no addition is lost, and every watcher sees the last value.
func testHammer(t *testing.T, b Backend) {
	s := b.Open(t)
	const workers, each = 6, 25
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var f follower
			for b, err := range s.Watch(t.Context(), "n", 0) {
				if err != nil {
					t.Error(err)
					return
				}
				f.apply(b)
				if f.records["n"] == strings.Repeat("x", workers*each) {
					return
				}
			}
		})
	}
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				r, err := s.Get(t.Context(), "n")
				if err != nil && !errors.Is(err, kv.ErrNotFound) {
					t.Error(err)
					return
				}
				_, err = s.Commit(t.Context(), []kv.Condition{{Key: "n", Revision: r.Revision}}, []kv.Write{{Key: "n", Value: append(r.Value, 'x')}})
				var conflict *kv.Conflict
				switch {
				case err == nil:
					done++
				case errors.As(err, &conflict):
					conflicts.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r, err := s.Get(t.Context(), "n")
	if err != nil || len(r.Value) != workers*each {
		t.Errorf("%d of %d additions, %v", len(r.Value), workers*each, err)
	}
	t.Logf("%d conflicts", conflicts.Load())
}

func testClosed(t *testing.T, b Backend) {
	s := b.Open(t)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, get := s.Get(t.Context(), "a")
	_, list := s.List(t.Context(), kv.Range{})
	_, commit := s.Commit(t.Context(), nil, []kv.Write{{Key: "a", Value: []byte("1")}})
	_, snapshot := s.Snapshot(t.Context(), func(kv.Record) error { return nil })
	var watch error
	for _, watch = range s.Watch(t.Context(), "", 0) {
		if watch != nil {
			break
		}
	}
	for name, err := range map[string]error{"Get": get, "List": list, "Commit": commit, "Snapshot": snapshot, "Watch": watch} {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
