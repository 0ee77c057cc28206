package wasi_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

func TestEnvironment(t *testing.T) {
	r := newRig(t, &wasi.System{Env: [][2]string{{"B", "2"}, {"A", "é"}}, Args: []string{"program", "x"}})
	if got, want := fmt.Sprint(r.must("cli/environment", "get-environment")), "[[B 2] [A é]]"; got != want {
		t.Errorf("environment %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(r.must("cli/environment", "get-arguments")), "[program x]"; got != want {
		t.Errorf("arguments %s, want %s", got, want)
	}
	for iface, name := range map[string]string{
		"cli/environment": "initial-cwd", "cli/terminal-stdin": "get-terminal-stdin", "cli/terminal-stdout": "get-terminal-stdout", "cli/terminal-stderr": "get-terminal-stderr",
	} {
		if got := r.must(iface, name); got != hosttest.None() {
			t.Errorf("%s: %v, want none", name, got)
		}
	}
}

func TestExitLeavesTheGuest(t *testing.T) {
	r := newRig(t, &wasi.System{})
	for _, c := range []struct {
		name string
		arg  canon.Value
		code uint32
	}{{"exit", canon.Variant{Case: 0}, 0}, {"exit", canon.Variant{Case: 1}, 1}, {"exit-with-code", uint8(7), 7}} {
		_, err := r.Call(r.ctx, "wasi:cli/exit@0.2.12", c.name, c.arg)
		if e := (*wasi.Exit)(nil); !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
		}
	}
}

func TestStandardStreams(t *testing.T) {
	r := newRig(t, &wasi.System{})
	out := r.must("cli/stdout", "get-stdout")
	if n := r.ok("io/streams", "[method]output-stream.check-write", out).(uint64); n < 4096 {
		t.Errorf("check-write permits %d", n)
	}
	r.ok("io/streams", "[method]output-stream.write", out, []byte("one "))
	r.ok("io/streams", "[method]output-stream.blocking-write-and-flush", out, []byte("two "))
	r.ok("io/streams", "[method]output-stream.flush", out)
	r.ok("io/streams", "[method]output-stream.blocking-flush", out)
	r.ok("io/streams", "[method]output-stream.write-zeroes", out, uint64(2))
	r.ok("io/streams", "[method]output-stream.blocking-write-zeroes-and-flush", out, uint64(100_000))
	if got := r.stdout.String(); got != "one two "+strings.Repeat("\x00", 100_002) {
		t.Errorf("wrote %d bytes: %.20q", len(got), got)
	}
	pollable := r.must("io/streams", "[method]output-stream.subscribe", out)
	if r.must("io/poll", "[method]pollable.ready", pollable) != true {
		t.Error("standard output is not ready")
	}
	r.drop("io/poll", "pollable", pollable)
	r.traps("check-write permits", "io/streams", "[method]output-stream.write-zeroes", out, uint64(1<<30))

	in := r.must("cli/stdin", "get-stdin")
	closed := canon.Variant{Case: 1}
	for _, name := range []string{"read", "blocking-read", "skip", "blocking-skip"} {
		if got := r.fails("io/streams", "[method]input-stream."+name, in, uint64(10)); got != closed {
			t.Errorf("%s of standard input: %v, want closed", name, got)
		}
	}
	if got := r.fails("io/streams", "[method]output-stream.splice", out, in, uint64(10)); got != closed {
		t.Errorf("splice: %v, want closed", got)
	}
	r.drop("cli/stdin", "input-stream", in)
	r.drop("cli/stdout", "output-stream", out)
	err := r.Drop(r.ctx, "wasi:cli/stdout@0.2.12", "output-stream", out.(hosttest.H))
	if err == nil || !strings.Contains(err.Error(), "unknown handle index") {
		t.Errorf("a second drop: %v", err)
	}
}

func TestStandardErrorThatFails(t *testing.T) {
	r := newRig(t, &wasi.System{Stdout: failing{}})
	out := r.must("cli/stdout", "get-stdout")
	failed := r.fails("io/streams", "[method]output-stream.blocking-write-and-flush", out, []byte("x")).(canon.Variant)
	if got := r.must("io/error", "[method]error.to-debug-string", failed.Payload); got != "no room" {
		t.Errorf("error %v", got)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []bool
		call := spin.NewCall(&spin.Host{}, nil)
		call.OnWait(func(begins bool) { waits = append(waits, begins) })
		r := newRig(t, &wasi.System{Call: call})
		before := r.must("clocks/monotonic-clock", "now").(uint64)
		soon := r.must("clocks/monotonic-clock", "subscribe-duration", uint64(time.Second))
		late := r.must("clocks/monotonic-clock", "subscribe-duration", uint64(time.Hour))
		if r.must("io/poll", "[method]pollable.ready", soon) == true {
			t.Error("a second has passed at once")
		}
		if got := r.must("io/poll", "poll", list(late, soon)); !reflect.DeepEqual(got, []canon.Value{uint32(1)}) {
			t.Errorf("poll gives %v", got)
		}
		if took := r.must("clocks/monotonic-clock", "now").(uint64) - before; took != uint64(time.Second) {
			t.Errorf("poll took %d", took)
		}
		r.must("io/poll", "[method]pollable.block", late)
		if took := r.must("clocks/monotonic-clock", "now").(uint64) - before; took != uint64(time.Hour) {
			t.Errorf("block took %d", took)
		}
		if !reflect.DeepEqual(waits, []bool{true, false, true, false}) {
			t.Errorf("told of waiting: %v", waits)
		}
		now := r.must("clocks/wall-clock", "now").([]canon.Value)
		if want := uint64(time.Now().Unix()); now[0] != want {
			t.Errorf("wall clock %v, want %d", now, want)
		}
		if got := fmt.Sprint(r.must("clocks/wall-clock", "resolution"), r.must("clocks/monotonic-clock", "resolution")); got != "[0 1] 1" {
			t.Errorf("resolutions %s", got)
		}
		if got := fmt.Sprint(r.must("clocks/timezone", "display", now), r.must("clocks/timezone", "utc-offset", now)); got != "[0 UTC false] 0" {
			t.Errorf("time zone %s", got)
		}
		never := r.must("clocks/monotonic-clock", "subscribe-duration", uint64(1<<64-1))
		if r.must("io/poll", "[method]pollable.ready", never) == true {
			t.Error("the end of time has come")
		}
	})
}

func TestInstants(t *testing.T) {
	r := newRig(t, &wasi.System{})
	now := r.must("clocks/monotonic-clock", "now").(uint64)
	for when, ready := range map[uint64]bool{0: true, now: true, now + uint64(time.Hour): false, 1<<64 - 1: false} {
		if got := r.must("io/poll", "[method]pollable.ready", r.must("clocks/monotonic-clock", "subscribe-instant", when)); got != ready {
			t.Errorf("ready at %d: %v", when, got)
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &wasi.System{})
		cause := errors.New("out of time")
		ctx, cancel := context.WithCancelCause(r.ctx)
		never := r.must("clocks/monotonic-clock", "subscribe-duration", uint64(time.Hour))
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if _, err := r.Call(ctx, "wasi:io/poll@0.2.12", "poll", list(never)); !errors.Is(err, cause) {
			t.Errorf("poll ended with %v", err)
		}
	})
}

func TestPollOnNothingTraps(t *testing.T) {
	newRig(t, &wasi.System{}).traps("empty list", "io/poll", "poll", list())
}

func TestRandom(t *testing.T) {
	r := newRig(t, &wasi.System{Random: strings.NewReader(strings.Repeat("0123456789abcdef", 100))})
	for _, name := range []struct{ iface, name string }{{"random/random", "get-random-bytes"}, {"random/insecure", "get-insecure-random-bytes"}} {
		for _, n := range []uint64{0, 1, 600} {
			if got := r.must(name.iface, name.name, n).([]byte); uint64(len(got)) != n {
				t.Errorf("%s gives %d bytes, want %d", name.name, len(got), n)
			}
		}
		r.traps("at most", name.iface, name.name, uint64(1<<40))
	}
	seed := r.must("random/insecure-seed", "insecure-seed").([]canon.Value)
	if seed[0] == seed[1] || seed[0] == uint64(0) {
		t.Errorf("seed %v", seed)
	}
	if a, b := r.must("random/random", "get-random-u64"), r.must("random/insecure", "get-insecure-random-u64"); a == b {
		t.Errorf("drew %v twice", a)
	}
}
