package wasi

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// version is that of all interfaces here. Later ones of 0.2 only add functions, so it serves components that ask for an earlier one.
const version = "@0.2.12"

// System is what one instance of a component finds where a program expects an operating system. One goroutine at a time uses it, the one that
// calls the guest. Its fields do not change once the guest runs.
type System struct {
	Env    [][2]string // environment variables, in the order in which the guest gets them
	Args   []string    // arguments, the program's name first; nil gives none
	Stdout io.Writer   // nil drops what is written
	Stderr io.Writer
	Files  fs.FS      // mounted read-only at "/"; nil: there are no directories
	Random io.Reader  // what guests draw; nil means the machine's
	Call   *spin.Call // what the invocation may reach, and its limits; nil: nothing is reached

	changed chan struct{} // of capacity 1: something that was begun has got further
	open    int           // connections and exchanges of the instance
}

type systemKey struct{}

// With returns the ctx to call the guest with: functions find s there.
func With(ctx context.Context, s *System) context.Context {
	if s.changed == nil {
		s.changed = make(chan struct{}, 1)
	}
	return context.WithValue(ctx, systemKey{}, s)
}

func system(c *canon.Call) *System {
	s, _ := c.Context().Value(systemKey{}).(*System)
	if s == nil {
		canon.Trapf("called outside an instance")
	}
	return s
}

// Exit is the panic by which a guest that exits leaves.
type Exit struct{ Code uint32 }

func (e *Exit) Error() string { return fmt.Sprintf("the guest exited with code %d", e.Code) }

// Interfaces are all that the package offers.
func Interfaces() []host.Interface {
	return slices.Concat(cliInterfaces(), clockInterfaces(), ioInterfaces(), randomInterfaces(), filesystemInterfaces(), socketInterfaces(), httpInterfaces())
}

// progress wakes the guest's goroutine where it waits. Any goroutine may call it.
func (s *System) progress() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// await returns when ready says so, which it is asked again after each progress and at a time. It ends with ctx, and the guest with it.
func (s *System) await(ctx context.Context, at time.Time, ready func() bool) {
	if ready() {
		return
	}
	var due <-chan time.Time
	var timer *time.Timer
	if !at.IsZero() {
		timer = time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	if s.Call != nil {
		s.Call.Waits(true)
		defer s.Call.Waits(false) // also when the guest is unwound
	}
	for !ready() {
		select {
		case <-s.changed:
		case <-due:
			timer.Reset(max(0, time.Until(at)))
		case <-ctx.Done():
			panic(fmt.Errorf("wait: %w", context.Cause(ctx)))
		}
	}
}

// dropper is a resource that holds something.
type dropper interface{ drop() }

// drop gives up any resource of the package.
func drop(_ *canon.Store, object any) {
	if d, ok := object.(dropper); ok {
		d.drop()
	}
}

// drops are the resources of an interface, its own and those that it uses.
func drops(names ...string) map[string]host.Drop {
	all := make(map[string]host.Drop, len(names))
	for _, n := range names {
		all[n] = drop
	}
	return all
}

// fill draws for the guest. Its memory is written by copying, never by a system call, whose faults are not counted as the guest's.
func (s *System) fill(into []byte) {
	from := s.Random
	if from == nil {
		from = rand.Reader
	}
	var chunk [512]byte
	for len(into) > 0 {
		n := min(len(into), len(chunk))
		if _, err := io.ReadFull(from, chunk[:n]); err != nil {
			panic(fmt.Errorf("draw random bytes: %w", err))
		}
		into = into[copy(into, chunk[:n]):]
	}
}
