package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// maxOperations is how many operations of one tenant go on or wait at once; one more is refused as TooBusy.
const maxOperations = 64

// operation is one that has not ended.
type operation struct {
	c      *Controller
	by     Actor
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	now     tenants.Operation
	changed chan struct{} // closed at the next change
	ended   bool          // and written down
}

// begin makes an operation known. It is written down by the caller's transaction; where that fails, forget it.
func (c *Controller) begin(by Actor, t tenants.ID, a tenants.AppName, kind, target string) (*operation, error) {
	now := time.Now().UTC()
	o := &operation{c: c, by: by, changed: make(chan struct{}), now: tenants.Operation{
		ID: tenants.NewID[tenants.OperationID](now), Tenant: t, App: a, Kind: kind, Target: target, By: by.Name, State: tenants.OperationRunning, Started: now,
		Steps: []tenants.Step{{State: "waiting", At: now}},
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return nil, problemf(Interrupted, "ask again when it is back", "the server is being stopped")
	}
	if c.busy[t] >= maxOperations {
		return nil, problemf(TooBusy, "wait for some of them to end", "%d operations of tenant %s go on already", maxOperations, t)
	}
	c.busy[t]++
	c.operations[o.now.ID] = o
	return o, nil
}

func (c *Controller) forget(o *operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.operations[o.now.ID] != o {
		return
	}
	delete(c.operations, o.now.ID)
	if c.busy[o.now.Tenant]--; c.busy[o.now.Tenant] == 0 {
		delete(c.busy, o.now.Tenant)
	}
}

// ended forgets an operation, and tells of its end.
func (c *Controller) ended(o *operation) {
	c.forget(o)
	if now, _ := o.read(); c.config.Ended != nil && now.State != tenants.OperationRunning {
		c.config.Ended(now)
	}
}

// run does an operation's work when a slot is free. fail is called where the work ends with an error; it and the work write the operation's
// end down with what they did.
func (c *Controller) run(o *operation, work func(ctx context.Context) error, fail func(p *Problem)) {
	ctx, cancel := context.WithCancelCause(c.life)
	o.cancel = cancel
	c.work.Go(func() { // ends with its work, or soon after life
		defer c.ended(o)
		defer cancel(nil)
		var err error
		select {
		case c.slots <- struct{}{}:
			err = work(ctx)
			<-c.slots
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil {
			return
		}
		p := problemOf(err)
		switch cause := context.Cause(ctx); {
		case c.life.Err() != nil:
			p = problemf(Interrupted, "ask for it again", "the server was stopped in the middle")
		case errors.Is(cause, errCancelled):
			p = problemf(Cancelled, "", "it was cancelled")
		case p.Code == Failed && !told(err):
			c.config.Log.Error("an operation failed", "tenant", o.now.Tenant, "app", o.now.App, "operation", o.now.ID, "error", err)
			p = problemf(Failed, "try again; tell the operator the operation's id if it stays so", "the platform could not do this; its log has the reason")
		}
		fail(p)
	})
}

// told lists what tenants may be told in the store's own words. What else goes wrong names the server's files and addresses.
func told(err error) bool {
	for _, known := range []error{store.ErrNotFound, store.ErrExists, store.ErrMismatch, store.ErrContended, store.ErrQuota, store.ErrState} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

var errCancelled = errors.New("cancelled")

// read is the operation as it stands.
func (o *operation) read() (tenants.Operation, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now
	now.Steps = slices.Clone(now.Steps)
	return now, o.changed
}

// note adds a step for those who watch. The store has it with the next write.
func (o *operation) note(state, detail string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now.Note(tenants.Step{State: state, Detail: detail, At: time.Now().UTC()})
	o.tell()
}

func (o *operation) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// finished is the operation with its end, to be written down by a transaction; end tells those who watch once it is.
func (o *operation) finished(result any, p *Problem) tenants.Operation {
	now, _ := o.read()
	state := tenants.OperationDone
	switch {
	case p == nil:
		now.Result, _ = json.Marshal(result) // a resource, which encodes
	case p.Code == Cancelled:
		state = tenants.OperationCancelled
	default:
		state = tenants.OperationFailed
	}
	if p != nil {
		now.Problem = encodeProblem(p)
	}
	now.End(state, time.Now().UTC()) // it runs: o ends once
	if p != nil {
		now.Steps[len(now.Steps)-1].Reason = string(p.Code)
	}
	return now
}

// encodeProblem leaves faults out where there is no room for them.
func encodeProblem(p *Problem) json.RawMessage {
	short := *p
	for {
		b, err := json.Marshal(short)
		if err == nil && len(b) <= 60<<10 || len(short.Faults) == 0 {
			return b
		}
		short.Faults = short.Faults[:len(short.Faults)/2]
	}
}

func (o *operation) end(now tenants.Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now, o.ended = now, true
	o.tell()
}

// live finds an operation that has not ended.
func (c *Controller) live(id tenants.OperationID) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.operations[id]
}

// at finds the operation that works on a target.
func (c *Controller) at(target string) *operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.operations {
		if now, _ := o.read(); now.Target == target {
			return o
		}
	}
	return nil
}

// Operation tells how far an operation of any tenant has come, or store.ErrNotFound. Whether it may be seen is for the caller to ask.
func (c *Controller) Operation(ctx context.Context, id tenants.OperationID) (tenants.Operation, error) {
	if o := c.live(id); o != nil {
		now, _ := o.read()
		return now, nil
	}
	have, err := c.config.Store.Operation(ctx, id)
	return have.Value, err
}

// WatchOperation tells how an operation stands, and then each change until its end. A slow reader is told the newest state only. It ends with
// ctx's error where that comes first.
func (c *Controller) WatchOperation(ctx context.Context, id tenants.OperationID) iter.Seq2[tenants.Operation, error] {
	return func(yield func(tenants.Operation, error) bool) {
		o := c.live(id)
		if o == nil {
			have, err := c.config.Store.Operation(ctx, id)
			yield(have.Value, err)
			return
		}
		for {
			now, changed := o.read()
			if !yield(now, nil) || now.State != tenants.OperationRunning {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(now, ctx.Err())
				return
			}
		}
	}
}

// Wait returns an operation when it has ended, or as it stands when ctx ends, with ctx's error.
func (c *Controller) Wait(ctx context.Context, id tenants.OperationID) (last tenants.Operation, err error) {
	for now, err := range c.WatchOperation(ctx, id) {
		if last = now; err != nil {
			return last, err
		}
	}
	return last, nil
}

// ending writes the end of an operation down, together with what f changes, and then tells. What cannot be written is logged: the next start
// finds the operation interrupted.
func (c *Controller) ending(o *operation, e tenants.AuditEntry, result any, p *Problem, f func(ctx context.Context, tx *store.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), writeWithin)
	defer cancel()
	now := o.finished(result, p)
	err := c.update(ctx, e, func(tx *store.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		return tx.PutOperation(ctx, now)
	})
	if err != nil {
		c.config.Log.Error("the end of an operation could not be written down", "tenant", now.Tenant, "app", now.App, "operation", now.ID, "error", err)
		if p == nil {
			return err
		}
	}
	o.end(now)
	return err
}

// writeWithin bounds how long the store is waited for at an operation's end, which no caller waits for any more.
const writeWithin = 30 * time.Second
