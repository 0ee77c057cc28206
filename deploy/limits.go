package deploy

import (
	"fmt"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// limits are what a component asks for. Where it asks for nothing it has the default, or less where its tenant may not have that much.
func limits(t manifest.Tool, most tenants.Limits) tenants.Limits {
	most = most.WithDefaults()
	l := tenants.Limits{
		Concurrency: min(tenants.DefaultConcurrency, most.Concurrency),
		Timeout:     min(tenants.DefaultTimeout, most.Timeout),
		Memory:      min(tenants.DefaultMemory, most.Memory),
		Fuel:        most.Fuel,
		HostCalls:   min(tenants.DefaultHostCalls, most.HostCalls),
		BytesOut:    min(tenants.DefaultBytes, most.BytesOut),
		BytesIn:     min(tenants.DefaultBytes, most.BytesIn),
		Handles:     min(tenants.DefaultHandles, most.Handles),
		Output:      min(tenants.DefaultOutput, most.Output),
		LogRate:     min(tenants.DefaultLogRate, most.LogRate),
		MaxWait:     most.MaxWait,
	}
	set(&l.Concurrency, t.Concurrency)
	set(&l.Timeout, t.Timeout)
	set(&l.Memory, t.Memory)
	set(&l.Fuel, t.Fuel)
	set(&l.HostCalls, t.HostCalls)
	set(&l.BytesOut, t.BytesOut)
	set(&l.BytesIn, t.BytesIn)
	set(&l.Handles, t.Handles)
	set(&l.Output, t.Output)
	set(&l.LogRate, t.LogRate)
	set(&l.Overflow, t.Overflow)
	set(&l.MaxWait, t.MaxWait)
	set(&l.OrderBy, t.OrderBy)
	return l
}

// least are limits of which none is above what a policy allows.
func least(l, most tenants.Limits) tenants.Limits {
	most = most.WithDefaults()
	l.Concurrency = min(l.Concurrency, most.Concurrency)
	l.Timeout = min(l.Timeout, most.Timeout)
	l.Memory = min(l.Memory, most.Memory)
	l.HostCalls = min(l.HostCalls, most.HostCalls)
	l.BytesOut = min(l.BytesOut, most.BytesOut)
	l.BytesIn = min(l.BytesIn, most.BytesIn)
	l.Handles = min(l.Handles, most.Handles)
	l.Output = min(l.Output, most.Output)
	l.LogRate = min(l.LogRate, most.LogRate)
	if most.Fuel > 0 && (l.Fuel == 0 || l.Fuel > most.Fuel) { // 0 has no bound, here and below
		l.Fuel = most.Fuel
	}
	if most.MaxWait > 0 && (l.MaxWait == 0 || l.MaxWait > most.MaxWait) {
		l.MaxWait = most.MaxWait
	}
	return l
}

func set[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

// size prints bytes in the largest unit that gives a whole number, so that two sizes that differ never look the same.
func size[T int64 | uint64](n T) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
