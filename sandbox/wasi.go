package sandbox

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

const wasiModule = wasi_snapshot_preview1.ModuleName

// defineWASI instantiates wazero's WASI preview 1 with two functions of ours: a proc_exit that leaves the instance to the host that owns it,
// with a code that nobody can mistake for wazero's own, and a poll_oneoff whose sleep ends with the invocation. Sealed, it is for guests
// without files: they have the three standard streams and nothing else, which they can neither close nor move, so that no message leaves a
// trace in the descriptors.
func defineWASI(ctx context.Context, w wazero.Runtime, sealed bool) error {
	b := w.NewHostModuleBuilder(wasiModule)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(procExit), []api.ValueType{i32}, nil).Export("proc_exit")
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(pollOneoff), []api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}).Export("poll_oneoff")
	if sealed {
		for name, params := range map[string][]api.ValueType{"fd_close": {i32}, "fd_renumber": {i32, i32}, "fd_fdstat_set_flags": {i32, i32}} {
			b.NewFunctionBuilder().WithGoFunction(api.GoFunc(sealedStream), params, []api.ValueType{i32}).Export(name)
		}
	}
	_, err := b.Instantiate(ctx)
	return err
}

// sealedStream answers an operation on a descriptor: the standard streams stay as they are, and others do not exist.
func sealedStream(_ context.Context, stack []uint64) {
	if uint32(stack[0]) <= 2 {
		stack[0] = errnoSuccess
		return
	}
	stack[0] = errnoBadf
}

func procExit(_ context.Context, stack []uint64) {
	panic(&exit{uint32(stack[0])})
}

// Error numbers of WASI preview 1, section errno.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
)

// Sizes and tags of WASI preview 1, sections subscription and event.
const (
	subscriptionSize = 48
	eventSize        = 32
	eventClock       = 0
	eventWrite       = 2
	clockMonotonic   = 1
)

// pollOneoff waits for the first of the subscriptions in memory. Files, outputs and the empty input are always ready, so that only a poll
// on nothing but clocks waits. Descriptors are not looked up: the operation on one that is not open says so.
func pollOneoff(ctx context.Context, m api.Module, stack []uint64) {
	in, out, count, result := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	stack[0] = poll(ctx, m.Memory(), in, out, count, result)
}

func poll(ctx context.Context, mem api.Memory, in, out, count, result uint32) (errno uint64) {
	if count == 0 {
		return errnoInval
	}
	if uint64(count)*subscriptionSize > math.MaxUint32 {
		return errnoFault
	}
	subscriptions, ok := mem.Read(in, count*subscriptionSize)
	if !ok {
		return errnoFault
	}
	events, ok := mem.Read(out, count*eventSize)
	if !ok {
		return errnoFault
	}
	wait, ok := shortest(subscriptions)
	if !ok {
		return errnoInval
	}
	sleep(ctx, wait)
	n := uint32(0)
	for s := subscriptions; len(s) > 0; s = s[subscriptionSize:] {
		if left, _ := subscription(s).wait(); left <= wait {
			subscription(s).event(events[n*eventSize:])
			n++
		}
	}
	if !mem.WriteUint32Le(result, n) {
		return errnoFault
	}
	return errnoSuccess
}

// shortest tells how long until the first subscription is ready.
func shortest(subscriptions []byte) (wait time.Duration, ok bool) {
	wait = math.MaxInt64
	for s := subscriptions; len(s) > 0; s = s[subscriptionSize:] {
		left, ok := subscription(s).wait()
		if !ok {
			return 0, false
		}
		wait = min(wait, left)
	}
	return wait, true
}

// sleep ends with the context, and then the guest ends too.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	if v, ok := ctx.Value(invocationKey{}).(*invocation); ok {
		v.instance.wait(true)
		defer v.instance.wait(false)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		panic(errInterrupted)
	}
}

// subscription is one in memory: user data u64 at 0, tag u8 at 8; of a clock: id u32 at 16, time u64 at 24, flags u16 at 40.
type subscription []byte

// wait tells how long until it is ready; false where it is not a subscription.
func (s subscription) wait() (time.Duration, bool) {
	if tag := s[8]; tag != eventClock {
		return 0, tag <= eventWrite
	}
	d := time.Duration(min(binary.LittleEndian.Uint64(s[24:]), math.MaxInt64))
	switch binary.LittleEndian.Uint16(s[40:]) {
	case 0:
		return d, true
	case 1: // an absolute time
		if binary.LittleEndian.Uint32(s[16:]) == clockMonotonic {
			return max(0, d-time.Duration(monotonic())), true
		}
		return max(0, d-time.Duration(time.Now().UnixNano())), true
	}
	return 0, false
}

// event says in memory that the subscription is ready: user data u64 at 0, errno u16 at 8, type u8 at 10, bytes u64 at 16, flags u16 at 24.
func (s subscription) event(e []byte) {
	user, tag := binary.LittleEndian.Uint64(s), s[8]
	clear(e[:eventSize])
	binary.LittleEndian.PutUint64(e, user)
	e[10] = tag
}

// started is the zero of the guests' monotonic clock: how long the machine runs is not theirs to know.
var started = time.Now()

func monotonic() int64 { return int64(time.Since(started)) }
