package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// pause is why an application is given no messages, and since when.
type pause struct {
	why   string
	since time.Time
}

// Pause unsubscribes an application's triggers and keeps them: they are Paused for the given reason until Resume, through every Apply that
// leaves any. What waits already is handled. Pausing again changes the reason. Subscriptions that others share stay for them.
func (s *Scheduler) Pause(tenant tenants.ID, app tenants.AppName, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.app(tenant, app)
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	if a.pause != nil {
		a.pause = &pause{why, a.pause.since}
		return nil
	}
	a.pause = &pause{why, time.Now()}
	s.listen(nil, a.triggers)
	return nil
}

// Resume subscribes a paused application's triggers again. Where it is not paused, it does nothing.
func (s *Scheduler) Resume(tenant tenants.ID, app tenants.AppName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.app(tenant, app)
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if a.pause == nil {
		return nil
	}
	a.pause = nil
	s.listen(a.triggers, nil)
	return nil
}

// app finds an application that has triggers. The caller holds mu.
func (s *Scheduler) app(tenant tenants.ID, app tenants.AppName) (*appTriggers, error) {
	if t := s.tenants[tenant]; t != nil {
		if i := slices.IndexFunc(t.apps, func(a appTriggers) bool { return a.name == app }); i >= 0 {
			return &t.apps[i], nil
		}
	}
	return nil, fmt.Errorf("%w application %q of tenant %q", ErrUnknown, app, tenant)
}

func (t *tenantQueue) pauseOf(app tenants.AppName) *pause {
	for _, a := range t.apps {
		if a.name == app {
			return a.pause
		}
	}
	return nil
}
