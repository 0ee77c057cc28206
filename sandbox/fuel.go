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

func refuelBuilder(w wazero.Runtime) wazero.HostModuleBuilder {
	return w.NewHostModuleBuilder(fuelModule).NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refuel), nil, nil).Export(refuelName)
}

func defineRefuel(ctx context.Context, w wazero.Runtime) error {
	_, err := refuelBuilder(w).Instantiate(ctx)
	return err
}

// linkRefuel makes the module of refuel that components are linked with: wazero lends no named host module to a resolver of imports.
func linkRefuel(ctx context.Context, w wazero.Runtime) (api.Module, error) {
	compiled, err := refuelBuilder(w).Compile(ctx)
	if err != nil {
		return nil, err
	}
	return w.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(""))
}

func refuel(ctx context.Context, m api.Module, _ []uint64) {
	v, _ := ctx.Value(invocationKey{}).(*invocation)
	if parts := v.instance.parts; parts != nil {
		v.instance.refuelPart(v, parts.fuelOf(m))
		return
	}
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
	i.grant(i.fuels[0], grant)
}

func (i *instance) grant(fuel api.MutableGlobal, units int64) {
	i.given += units
	fuel.Set(uint64(int64(fuel.Get()) + units))
}

// nextSlice is how much a guest that asks for fuel gets: what it owes (a bulk instruction is charged in one step, however large) and a slice,
// within the fuel of its invocation. A guest that asks when it was granted all of that gets nothing, and has used it up.
func (i *instance) nextSlice() int64 {
	next := slice + max(-int64(i.fuels[0].Get()), 0)
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
	i.yielded = 0
	for k, fuel := range i.fuels {
		if k != i.lead() {
			fuel.Set(0)
		} else {
			fuel.Set(uint64(i.given))
		}
	}
}

// overspent tells whether the guest has used more than it may since it last looked at its fuel.
func (i *instance) overspent() bool {
	limit := i.component.binding.Fuel
	return limit > 0 && i.burnt() > limit
}

// burnt is how many units the guest has used in this invocation.
func (i *instance) burnt() uint64 {
	left := int64(0)
	for _, fuel := range i.fuels {
		left += int64(fuel.Get())
	}
	return uint64(max(i.given-left, 0))
}

// A component's core modules count fuel each on their own, and the instance holds one account of all. Its handler's module begins with a slice,
// and another one that is called asks for its own: half of what may be out at once, which is two slices, so that many modules together are not
// longer away from Go than a few slices. What they have left is taken back when the turn is given up, or where the invocation's fuel ends.

// leastGrant is what a core module gets that asks while others hold much.
const leastGrant = slice / 64

// lead is the module, as an index of fuels, that has the handler.
func (i *instance) lead() int {
	if i.parts == nil {
		return 0
	}
	return i.parts.assembly.lead
}

// refuelPart is refuel for a core module of a component.
func (i *instance) refuelPart(v *invocation, fuel int) {
	if v.parent.Err() != nil || v.overdue() {
		panic(errInterrupted)
	}
	own, others := i.fuels[fuel], i.othersHold(fuel)
	owed := max(-int64(own.Get()), 0)
	grant := max((2*slice-others)/2, leastGrant) + owed
	if used := int64(i.burnt()); used-i.yielded >= slice {
		if err := i.session.pay(); err != nil {
			panic(err)
		}
		i.slices++
		i.session.yield(i.slices%breath == 0)
		i.yielded = used
		i.takeBack(fuel)
		grant = slice + owed
	}
	if limit := i.component.binding.Fuel; limit > 0 {
		if grant > int64(limit)-i.given {
			i.takeBack(fuel)
		}
		grant = min(grant, int64(limit)-i.given)
	}
	if grant <= 0 {
		panic(errFuel)
	}
	i.grant(own, grant)
}

// othersHold is the fuel that all modules but one have left.
func (i *instance) othersHold(fuel int) (left int64) {
	for k, f := range i.fuels {
		if k != fuel {
			left += int64(f.Get())
		}
	}
	return left
}

// takeBack leaves the other modules without fuel, so that each asks when it goes on.
func (i *instance) takeBack(fuel int) {
	for k, f := range i.fuels {
		if k != fuel {
			i.given -= int64(f.Get())
			f.Set(0)
		}
	}
}
