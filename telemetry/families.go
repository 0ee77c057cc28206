package telemetry

import "github.com/tenloom/tenloom/tenants"

// tenantFamily is a Family with a series, or several, for each tenant.
type tenantFamily struct {
	*Family
	fill func(f *Family, tenant Label, r *reading)
}

// tenantFamilies are all that there are. Names are those of OpenTelemetry's semantic conventions where these have one, else tenloom's own.
func tenantFamilies() []tenantFamily {
	one := func(name, unit string, kind Kind, help string, value func(*reading) float64) tenantFamily {
		return tenantFamily{family(name, unit, kind, help), func(f *Family, t Label, r *reading) { f.add(value(r), t) }}
	}
	count := func(name, unit, help string, value func(*reading) int64) tenantFamily {
		return one(name, unit, Counter, help, func(r *reading) float64 { return float64(value(r)) })
	}
	stands := func(name, unit, help string, value func(*reading) float64) tenantFamily {
		return one(name, unit, Gauge, help, value)
	}
	return []tenantFamily{
		count("messaging.client.consumed.messages", "{message}", "Deliveries received.", func(r *reading) int64 { return r.received }),
		{family("tenloom.deliveries", "{delivery}", Counter, "Deliveries that have ended, by outcome."), func(f *Family, t Label, r *reading) {
			for o, n := range r.outcomes {
				f.add(float64(n), t, Label{"outcome", tenants.Outcome(o).String()})
			}
		}},
		{family("tenloom.refusals", "{delivery}", Counter, "Deliveries that no handler got, by reason; rate is the tenant's own limit."), func(f *Family, t Label, r *reading) {
			f.add(float64(r.outcomes[tenants.Throttled]), t, Label{"reason", "rate"})
			f.add(float64(r.outcomes[tenants.Expired]), t, Label{"reason", "expired"})
			for n := tenants.NoReason + 1; n < tenants.Reasons; n++ {
				f.add(float64(r.reasons[n]), t, Label{"reason", n.String()})
			}
		}},
		{family("messaging.process.duration", "s", Distributions, "Time of handlers."), func(f *Family, t Label, r *reading) {
			f.Series = append(f.Series, Series{Labels: []Label{t}, Distribution: &r.ran, Exemplars: r.exemplars})
		}},
		{family("tenloom.queue.wait", "s", Distributions, "From a message's receipt to its handler's start."), func(f *Family, t Label, r *reading) {
			f.Series = append(f.Series, Series{Labels: []Label{t}, Distribution: &r.waited})
		}},
		stands("tenloom.queue.depth", "{delivery}", "Deliveries that wait.", func(r *reading) float64 { return float64(r.queued) }),
		stands("tenloom.queue.size", "By", "Bytes that wait.", func(r *reading) float64 { return float64(r.load.Bytes) }),
		stands("tenloom.queue.lag", "s", "How long the delivery that has waited longest has waited.", func(r *reading) float64 { return r.load.Oldest.Seconds() }),
		stands("tenloom.queue.spilled", "{delivery}", "Deliveries beyond the queue in memory: on disk, or on their way there or back.", func(r *reading) float64 { return float64(r.load.Spilled) }),
		stands("tenloom.queue.spilled.size", "By", "Bytes of these.", func(r *reading) float64 { return float64(r.load.SpilledBytes) }),
		stands("tenloom.queue.unaccounted", "{delivery}", "Deliveries by which an account is off from what waits: anything but 0 is a fault of tenloom.",
			func(r *reading) float64 { return float64(r.load.Unaccounted) }),
		stands("tenloom.in_flight", "{delivery}", "Deliveries whose handlers run.", func(r *reading) float64 { return float64(r.inFlight) }),
		{family("tenloom.instances", "{instance}", Counter, "What handlers ran in: reset to its beginning, warm with its state, or cold and new."), func(f *Family, t Label, r *reading) {
			for i := NoInstance + 1; i < Instances; i++ {
				f.add(float64(r.instances[i]), t, Label{"kind", i.String()})
			}
		}},
		count("faas.coldstarts", "{coldstart}", "Deliveries that waited for a new instance.", func(r *reading) int64 { return r.instances[Cold] }),
		count("faas.errors", "{error}", "Handlers that failed.", func(r *reading) int64 { return r.outcomes[tenants.Failed] }),
		count("faas.timeouts", "{timeout}", "Handlers that ran into their deadline.", func(r *reading) int64 { return r.outcomes[tenants.TimedOut] }),
		count("tenloom.redeliveries", "{delivery}", "Deliveries that were not the first attempt.", func(r *reading) int64 { return r.redelivered }),
		count("tenloom.fuel", "{unit}", "Fuel that handlers used, about one unit for each instruction.", func(r *reading) int64 { return int64(r.used.Fuel) }),
		one("tenloom.memory.time", "GBy.s", Counter, "Largest memory of each invocation times its time, in gigabyte-seconds.", func(r *reading) float64 { return r.used.Held }),
		count("tenloom.payload.size", "By", "Bytes of the messages that handlers got.", func(r *reading) int64 { return r.payload }),
		{family("tenloom.outbound.calls", "{call}", Counter, "Calls that handlers made to servers."), func(f *Family, t Label, r *reading) {
			for s, n := range r.calls {
				f.add(float64(n), t, Label{"system", System(s).String()})
			}
		}},
		count("tenloom.outbound.errors", "{call}", "Calls of handlers to servers that failed.", func(r *reading) int64 { return r.callsFailed }),
		count("tenloom.gaps", "{gap}", "Interruptions of subscriptions, in which messages may have been lost.", func(r *reading) int64 { return r.gaps }),
		count("tenloom.log.cut", "{line}", "Lines of output that the tenant's log_bytes_per_second did not let into its log.", func(r *reading) int64 { return r.cutLines }),
		one("tenloom.gap.duration", "s", Counter, "Time of these interruptions.", func(r *reading) float64 { return r.gapTime.Seconds() }),
	}
}
