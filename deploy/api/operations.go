package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// maxPrefer is how long an answer is held back for an operation's end.
const maxPrefer = 60 * time.Second

// operation finds the path's operation. One that the caller may not see is not there.
func (s *server) operation(c *call) (tenants.Operation, store.Revision, error) {
	have, err := s.Store.Operation(c.ctx(), tenants.OperationID(c.r.PathValue("id")))
	if err != nil {
		return have.Value, 0, noSuchIf(err, "operation")
	}
	o := have.Value
	c.action = tenants.ReadOperation
	access := tenants.May(c.who, c.action, tenants.Resource{Tenant: o.Tenant, App: o.App, StartedBy: o.By})
	if access.Verdict != tenants.Allowed {
		return o, 0, noSuch("operation")
	}
	return o, have.Revision, nil
}

func (s *server) showOperation(c *call) error {
	o, r, err := s.operation(c)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, r, o)
}

// watchOperation streams how an operation goes on: "operation" for each change, the last of which is its end.
func (s *server) watchOperation(c *call) error {
	o, _, err := s.operation(c)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		streamHeader(c.w)
		return nil
	}
	if err := s.streams.take(); err != nil {
		return err
	}
	defer s.streams.leave()
	ctx, done := c.streaming()
	defer done()
	out := newEvents(c.w)
	changes := make(chan tenants.Operation)
	go func() { // ends with the operation or with ctx
		defer close(changes)
		s.follow(ctx, o, func(now tenants.Operation) bool {
			select {
			case changes <- now:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	defer func() {
		done()
		for range changes {
		}
	}()
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	for n := 1; ; {
		select {
		case now, ok := <-changes:
			if !ok {
				return out.signedOut(ctx)
			}
			if err := out.event("operation", strconv.Itoa(n), now); err != nil || now.State != tenants.OperationRunning {
				return err
			}
			n++
		case <-idle.C:
			if err := out.comment(); err != nil {
				return err
			}
		}
	}
}

// Bounds of looking at an operation that another process carries out.
const (
	firstPoll = 20 * time.Millisecond
	lastPoll  = time.Second
)

// follow tells how an operation stands, and each change until its end, as long as tell says yes.
func (s *server) follow(ctx context.Context, o tenants.Operation, tell func(tenants.Operation) bool) {
	steps := len(o.Steps)
	if !tell(o) || o.State != tenants.OperationRunning {
		return
	}
	for wait := firstPoll; ; wait = min(wait*3/2, lastPoll) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		have, err := s.Store.Operation(ctx, o.ID)
		if errors.Is(err, store.ErrNotFound) || ctx.Err() != nil {
			return
		}
		if err != nil || len(have.Value.Steps) == steps && have.Value.State == o.State {
			continue
		}
		o, steps, wait = have.Value, len(have.Value.Steps), firstPoll
		if !tell(o) || o.State != tenants.OperationRunning {
			return
		}
	}
}

// preferred reads Prefer: wait=SECONDS (RFC 7240 section 4.3).
func preferred(r *http.Request) time.Duration {
	for _, header := range r.Header.Values("Prefer") {
		for one := range strings.SplitSeq(header, ",") {
			text, ok := strings.CutPrefix(strings.TrimSpace(one), "wait=")
			if n, err := strconv.ParseUint(text, 10, 16); ok && err == nil {
				return min(time.Duration(n)*time.Second, maxPrefer)
			}
		}
	}
	return 0
}

// await waits for an operation's end as long as the request prefers to.
func (s *server) await(c *call, id tenants.OperationID) (last tenants.Operation, err error) {
	have, err := s.Store.Operation(c.ctx(), id)
	if err != nil {
		return last, err
	}
	last = have.Value
	if wait := preferred(c.r); wait > 0 {
		c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait.Seconds())))
		ctx, cancel := context.WithTimeout(c.ctx(), wait)
		defer cancel()
		s.follow(ctx, last, func(now tenants.Operation) bool { last = now; return true })
	}
	return last, nil
}
