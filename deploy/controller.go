package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// Config is what a Controller has at hand. All functions are called from many goroutines at once.
type Config struct {
	Store     *store.Store
	Artifacts *artifact.Store
	Dir       string       // of components' files as guests see them; it holds nothing that cannot be made again
	Log       *slog.Logger // default: nowhere

	// System is the running system as one app of a tenant sees it. Policy is set already; Apply is not used.
	System func(ctx context.Context, s Scope) (System, error)
	// Switch makes these the whole set of an app's triggers; none removes the app. paused is why none of them is subscribed, "" where they are.
	// It takes effect at once for all messages that come later, or not at all.
	Switch func(tenant tenants.ID, app tenants.AppName, triggers []Bound, paused string) error
	// Hold subscribes to targets ahead of triggers, and returns when the server has acknowledged all of them, with what gives them up again.
	Hold func(ctx context.Context, on tenants.EndpointID, targets []tenants.Target) (release func(), err error)
	// Drain returns when every invocation that had begun before the call has ended.
	Drain func(ctx context.Context) error
	// Policy tells the running system what a tenant may take, before its first Switch and when it changes.
	Policy func(tenant tenants.ID, p tenants.Policy)

	// Pull stores what an OCI reference leads to, of at most so many bytes. An error with NextStep is the reference's fault. nil: none is taken.
	Pull func(ctx context.Context, reference string, most int64) (oci.App, error)

	// Ended is told of each operation that has ended; nil tells nobody.
	Ended func(o tenants.Operation)

	Workers       int           // operations at once; default twice the processors; the others wait
	SubscribeWait time.Duration // for the acknowledgement of new targets; default 10 s
}

// Scope is the app that a System is for.
type Scope struct {
	Tenant   tenants.ID
	App      tenants.AppName
	Manifest *manifest.Manifest
	Policy   tenants.Policy
}

// Actor is who asks for a change, as the audit log names them.
type Actor struct {
	Name    string // id of a token, or a member's subject: one word
	Request tenants.RequestID
}

// platform is the actor of what happens by itself.
var platform = Actor{Name: "tenloom"}

// Controller leads versions through their life: it makes them of what was uploaded, lets them take an app's traffic and give it back, and
// brings everything back after a restart. What it did is in the store before it says so, with an audit entry in the same transaction.
//
// Long work goes on as an Operation after its call has returned. Changes of one app follow one another.
type Controller struct {
	config Config
	recent recent
	slots  chan struct{} // an operation at work holds one
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup // operations, drains and guards; each ends soon after life

	mu         sync.Mutex
	operations map[tenants.OperationID]*operation // those that have not ended
	busy       map[tenants.ID]int                 // of those, by tenant; at most maxOperations
	apps       map[appKey]*app
	prepared   []*loaded // versions that no deployment has taken yet, the oldest first; at most maxPrepared
}

type appKey struct {
	tenant tenants.ID
	name   tenants.AppName
}

// New makes a Controller. Start brings back what was live; Shutdown ends it.
func New(c Config) *Controller {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Workers == 0 {
		c.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if c.SubscribeWait == 0 {
		c.SubscribeWait = 10 * time.Second
	}
	k := &Controller{
		config: c, slots: make(chan struct{}, c.Workers), operations: map[tenants.OperationID]*operation{}, busy: map[tenants.ID]int{},
		apps: map[appKey]*app{},
	}
	k.life, k.end = context.WithCancel(context.Background())
	return k
}

// Shutdown ends what goes on: operations fail as interrupted, and can be asked for again. Handlers stay; who ends the scheduler ends them.
func (c *Controller) Shutdown(ctx context.Context) error {
	c.end()
	ended := make(chan struct{})
	go func() { // ends with the work, which ends with life
		c.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end deployments: %w", ctx.Err())
	}
}

// update changes the store, with an audit entry. f may run again.
func (c *Controller) update(ctx context.Context, e tenants.AuditEntry, f func(tx *store.Tx) error) error {
	_, err := c.config.Store.UpdateOf(ctx, e.Chain, func(tx *store.Tx) error {
		if err := f(tx); err != nil || e.Action == "" {
			return err
		}
		return tx.Audit(ctx, e)
	})
	return err
}

func entry(by Actor, action tenants.Action, t tenants.ID, a tenants.AppName, target string) tenants.AuditEntry {
	return tenants.AuditEntry{Chain: t, At: time.Now(), Actor: by.Name, Action: action, App: a, Target: target, Request: by.Request, Outcome: "ok"}
}

// silent is for what goes on by itself in an operation whose beginning is in the audit log.
func silent(t tenants.ID) tenants.AuditEntry { return tenants.AuditEntry{Chain: t} }

// change is update for what is refused to a tenant that is suspended.
func (c *Controller) change(ctx context.Context, e tenants.AuditEntry, f func(tx *store.Tx) error) error {
	return c.update(ctx, e, func(tx *store.Tx) error {
		have, err := tx.Tenant(ctx, e.Chain)
		if err != nil {
			return err
		}
		if have.Value.State == tenants.TenantSuspended {
			return problemf(TenantSuspended, "ask the operator", "tenant %s is suspended: nothing of it changes", e.Chain)
		}
		return f(tx)
	})
}

// CreateApp adds an app without versions.
func (c *Controller) CreateApp(ctx context.Context, by Actor, t tenants.ID, name tenants.AppName) (tenants.App, error) {
	now := time.Now().UTC()
	a := tenants.App{ID: tenants.NewID[tenants.AppID](now), Tenant: t, Name: name, Created: now, CreatedBy: by.Name}
	err := c.change(ctx, entry(by, tenants.CreateApp, t, name, string(a.ID)), func(tx *store.Tx) error { return tx.CreateApp(ctx, a) })
	return a, err
}
