package api

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/tenloom/tenloom/tenants"
)

// rates are the tenants' accounts of calls. Who they count is the caller's own tenant, whatever the path names; operators are not counted.
// Their number is bounded by the tenants that there are; a tenant that is removed leaves its account behind until the process ends, or it is
// made again.
type rates struct {
	mu    sync.Mutex
	quota map[tenants.ID]*tenants.Quota
}

// of returns a tenant's account under the policy in force.
func (a *rates) of(id tenants.ID, p tenants.Policy) *tenants.Quota {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.quota[id]
	if q == nil {
		q = tenants.NewQuota(p)
		a.quota[id] = q
		return q
	}
	q.SetPolicy(p)
	return q
}

func (a *rates) forget(id tenants.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.quota, id)
}

// take counts a call on a meter and tells how much is left.
func (s *server) take(c *call, m tenants.Meter) error {
	if s.Store == nil || c.who.Operator || c.who.Tenant == "" {
		return nil
	}
	have, err := s.Store.Policy(c.ctx(), c.who.Tenant)
	if err != nil {
		return err
	}
	level := s.rates.of(c.who.Tenant, have.Value).Take(m, 1, c.now)
	tell(c.w, m, level)
	if level.OK {
		return nil
	}
	per, knob := "a second", "requests_per_second"
	if m == tenants.DeployMeter {
		per, knob = "a minute", "deploys_per_minute"
	}
	return &problem{Status: http.StatusTooManyRequests, Code: "rate_limited", Title: "Rate limit exceeded", Limit: int64(level.Limit), RetryAfter: after(level.Wait),
		Detail: fmt.Sprintf("%s may %s %d times %s", c.who.Tenant, m, level.Limit, per),
		Next:   fmt.Sprintf("Wait %d s, or ask an operator to raise %s.", after(level.Wait), knob)}
}

// tell writes RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), and X-RateLimit-* for older clients: of the tighter
// meter where there are two.
func tell(w http.ResponseWriter, m tenants.Meter, l tenants.Level) {
	h := w.Header()
	h.Add("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", m, l.Limit, int(l.Window.Seconds())))
	h.Add("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", m, l.Remaining, after(l.Reset)))
	h.Set("X-RateLimit-Limit", strconv.Itoa(l.Limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(l.Remaining))
	h.Set("X-RateLimit-Reset", strconv.Itoa(after(l.Reset)))
}
