package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Guests are metered: the rewriter makes them count down a unit for about each instruction, and call refuel when the count is below zero.
// That is the one place where a computing guest comes back to Go. Compiled code is not preempted otherwise: beside a guest that spins, the
// garbage collector and with it the process would wait for ever.
const (
	fuelModule = "tenloom"
	refuelName = "refuel"

	// slice is how many units a guest gets at a time: about 0.2 ms of work.
	slice = 200_000

	// Go looks for network events when a processor has nothing to run, and otherwise every 10 ms. A goroutine that yields is still there to be
	// run, so beside guests that compute all messages would wait for those 10 ms. Every so many slices a guest sleeps for a moment instead,
	// which is long enough for its processor to look.
	breath    = 10
	breathFor = 50 * time.Microsecond
)

// errFuel ends a guest that has used up the fuel of its invocation.
var errFuel = errors.New("out of fuel")

func defineRefuel(ctx context.Context, w wazero.Runtime) error {
	_, err := w.NewHostModuleBuilder(fuelModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(refuel), nil, nil).Export(refuelName).Instantiate(ctx)
	return err
}

func refuel(ctx context.Context, _ api.Module, _ []uint64) {
	v, _ := ctx.Value(invocationKey{}).(*invocation)
	v.instance.refuel(v)
}

// refuel holds the guest to its deadline and its fuel, gives others their turn, and grants the next slice.
func (i *instance) refuel(v *invocation) {
	if v.parent.Err() != nil || v.overdue() {
		panic(errInterrupted)
	}
	grant := i.nextSlice()
	if grant <= 0 {
		panic(errFuel)
	}
	if err := i.session.pay(); err != nil {
		panic(err)
	}
	i.slices++
	i.session.yield(i.slices%breath == 0)
	i.given += grant
	i.fuel.Set(uint64(int64(i.fuel.Get()) + grant))
}

// nextSlice is how much a guest that asks for fuel gets: what it owes (a bulk instruction is charged in one step, however large) and a slice,
// within the fuel of its invocation. A guest that asks when it was granted all of that gets nothing, and has used it up.
func (i *instance) nextSlice() int64 {
	next := slice + max(-int64(i.fuel.Get()), 0)
	if limit := i.component.binding.Fuel; limit > 0 {
		next = min(next, int64(limit)-i.given)
	}
	return next
}

// arm grants the slice that an invocation begins with, whichever way into the guest comes first. So where a guest asks for more depends on
// nothing but what it does.
func (i *instance) arm() {
	i.given = slice
	if limit := i.component.binding.Fuel; limit > 0 {
		i.given = min(slice, int64(limit))
	}
	i.fuel.Set(uint64(i.given))
}

// overspent tells whether the guest has used more than it may since it last looked at its fuel.
func (i *instance) overspent() bool {
	limit := i.component.binding.Fuel
	return limit > 0 && i.burnt() > limit
}

// burnt is how many units the guest has used in this invocation.
func (i *instance) burnt() uint64 {
	if i.fuel == nil {
		return 0
	}
	return uint64(max(i.given-int64(i.fuel.Get()), 0))
}
