package scheduler

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// appTriggers are an application's triggers, in the order of its last Apply.
type appTriggers struct {
	name     tenants.AppName
	triggers []*triggerQueue
	pause    *pause // nil while it is not paused
}

func (t *tenantQueue) triggersOf(app tenants.AppName) []*triggerQueue {
	for _, a := range t.apps {
		if a.name == app {
			return a.triggers
		}
	}
	return nil
}

func (t *tenantQueue) setTriggers(app tenants.AppName, triggers []*triggerQueue) {
	i := slices.IndexFunc(t.apps, func(a appTriggers) bool { return a.name == app })
	switch {
	case len(triggers) == 0 && i >= 0:
		t.apps = slices.Delete(t.apps, i, i+1)
	case i >= 0:
		t.apps[i].triggers = triggers
	case len(triggers) > 0:
		t.apps = append(slices.Clip(t.apps), appTriggers{name: app, triggers: triggers})
	}
}

// version is a trigger and what runs it, immutable.
type version struct {
	public  *tenants.Trigger // apart, because deliveries and records may outlive the trigger and must not keep its Invoker alive
	invoker Invoker
	orderBy *tenants.Pointer // of the limits, where it says something: with one at a time the order is that of arrival
}

func newVersion(t Trigger) (*version, error) {
	t.Limits = t.Limits.WithDefaults()
	v := &version{public: new(t.Trigger), invoker: t.Invoker}
	if t.Limits.OrderBy == "" {
		return v, nil
	}
	p, err := tenants.ParsePointer(t.Limits.OrderBy)
	if err != nil {
		return nil, fmt.Errorf("order_by of trigger %q: %w", t.ID, err)
	}
	if t.Limits.Concurrency > 1 {
		v.orderBy = p
	}
	return v, nil
}

// same tells whether v is what w is.
func (v *version) same(w *version) bool { return *v.public == *w.public && v.invoker == w.invoker }

// triggerQueue is the place of a trigger in its application, and what waits for it. Versions of the application come and go in it.
type triggerQueue struct {
	version  atomic.Pointer[version] // looked at for each message, without the lock; never nil, and all have one endpoint and target
	tenant   *tenantQueue
	breaker  *breaker
	limits   limits
	turn     member[triggerQueue]
	main     strand
	strands  *strands         // where deliveries are ordered by key
	orderBy  *tenants.Pointer // by what; nil is by arrival
	waiting  int              // in all strands
	spill    *spill           // what is beyond them; nil where nothing is
	running  int              // runs, each of which handles one delivery at a time
	estimate time.Duration    // of one handler call, a moving average; 0 before the first
	barrier  bool             // what runs was begun in another order than the present one and ends first
	removed  bool
}

// limits are what the queue itself looks at of a version's.
type limits struct {
	concurrency int
	maxWait     time.Duration
	overflow    tenants.Overflow
}

func newTriggerQueue(v *version, tenant *tenantQueue) *triggerQueue {
	t := &triggerQueue{tenant: tenant}
	t.turn = member[triggerQueue]{owner: t, weight: 1}
	t.run(v)
	return t
}

// run makes v what handles the deliveries from the next one on. Nothing is known of its handler yet.
func (t *triggerQueue) run(v *version) {
	l := v.public.Limits
	t.limits = limits{concurrency: l.Concurrency, maxWait: l.MaxWait, overflow: l.Overflow}
	t.estimate = 0
	t.version.Store(v)
	t.order(v.orderBy)
}

func (t *triggerQueue) target() tenants.Target { return t.version.Load().public.Target }
