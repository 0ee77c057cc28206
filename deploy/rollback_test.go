package deploy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// set gives variables values, and secrets new ones.
func (h *hosted) set(variables map[string]string, secrets ...string) {
	h.t.Helper()
	h.change(func(tx *store.Tx) error {
		for name, value := range variables {
			v := tenants.Variable{Tenant: tenant, App: "mailer", Name: name, Value: value, Changed: time.Now()}
			if err := tx.PutVariable(h.t.Context(), v); err != nil {
				return err
			}
		}
		for _, name := range secrets {
			s := tenants.Secret{Tenant: tenant, App: "mailer", Name: name, Sealed: tenants.Sealed("sealed"), Changed: time.Now()}
			if err := tx.PutSecret(h.t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestRollback(t *testing.T) {
	h := fresh(t)
	_, err := h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{})
	problem(t, err, deploy.NoRollback)
	h.set(map[string]string{"smtp": "a", "kept": "k", "gone": "g"}, "key")
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.deploy("mailer", 1)
	_, err = h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{})
	problem(t, err, deploy.NoRollback)
	h.set(map[string]string{"smtp": "b"}) // version 1 runs with it
	h.version("mailer", h.source("echo-b", text("", "orders")))
	second := h.deploy("mailer", 2)
	h.version("mailer", h.source("mark", text("", "orders")))

	back := h.deployed(h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{Reason: "it fails"}))
	if back.Weights[0].Version != 1 || back.RollbackOf != second.ID || back.Reason != "it fails" {
		t.Errorf("rolled back to %+v", back)
	}
	if again := h.deployed(h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{})); again.Weights[0].Version != 2 {
		t.Errorf("a rollback of a rollback leads to version %d", again.Weights[0].Version)
	}

	h.set(map[string]string{"smtp": "c", "new": "n"}, "key")
	h.change(func(tx *store.Tx) error { return tx.DeleteVariable(t.Context(), tenant, "mailer", "gone") })
	h.set(map[string]string{"kept": "k"})
	_, err = h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{To: "v1"})
	p := problem(t, err, deploy.ConfigChanged)
	if want := []string{"gone", "key", "new", "smtp"}; !slices.Equal(p.Names, want) {
		t.Errorf("it names %v, want %v", p.Names, want)
	}
	_, err = h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{To: "v1", Accept: []string{"key", "new", "smtp"}})
	if p := problem(t, err, deploy.ConfigChanged); !slices.Equal(p.Names, []string{"gone"}) {
		t.Errorf("it names %v", p.Names)
	}
	d := h.deployed(h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{To: "v1", Accept: p.Names}))
	if d.Weights[0].Version != 1 {
		t.Errorf("rolled back to %+v", d.Weights)
	}
	_, err = h.Rollback(t.Context(), ada, tenant, "mailer", deploy.RollbackRequest{To: "3"})
	problem(t, err, deploy.NoRollback)
}

// TestTwoDeploysAtOnce has many ask at once: one is let in at a time, the others are told who is.
func TestTwoDeploysAtOnce(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.version("mailer", h.source("echo-b", text("", "orders", "bills")))
	answers := make(chan error, 16)
	begun := make(chan deploy.Deployed, cap(answers))
	for i := range cap(answers) {
		go func() { // ends with its answer
			d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(1+i%2))
			if err == nil {
				begun <- d
			}
			answers <- err
		}()
	}
	refused := 0
	for range cap(answers) {
		if err := <-answers; err != nil {
			problem(t, err, deploy.DeployInProgress)
			refused++
		}
	}
	close(begun)
	live := 0
	for d := range begun {
		h.done(d.Operation)
		if h.deployment("mailer", string(d.Deployment.ID)).State == tenants.DeploymentLive {
			live++
		}
	}
	if refused == 0 || live != 1 {
		t.Errorf("%d were refused, %d are live", refused, live)
	}
	a, err := h.store.App(t.Context(), tenant, "mailer")
	if err != nil {
		t.Fatal(err)
	}
	r := all(1)
	r.IfMatch = h.store.ETag(a.Revision)
	h.deployed(h.CreateDeployment(t.Context(), ada, tenant, "mailer", r))
	if _, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", r); !isMismatch(err) {
		t.Errorf("a stale If-Match gives %v", err)
	}
}

func TestCancelDeployment(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.deploy("mailer", 1)
	h.version("mailer", h.source("echo-b", text("", "orders", "bills")))
	h.redis.Stop() // nothing is acknowledged
	d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(2))
	if err != nil {
		t.Fatal(err)
	}
	for o, err := range h.WatchOperation(t.Context(), d.Operation) {
		if err != nil || o.State != tenants.OperationRunning {
			t.Fatalf("the operation is %s, %v", o.State, err)
		}
		if o.Steps[len(o.Steps)-1].State == "subscribing" {
			break
		}
	}
	got, err := h.CancelDeployment(t.Context(), ada, tenant, "mailer", string(d.Deployment.ID))
	if err != nil || got.State != tenants.DeploymentFailed || got.Steps[len(got.Steps)-1].Reason != string(deploy.Cancelled) {
		t.Errorf("cancelled: %+v, %v", got, err)
	}
	if o := h.wait(d.Operation); o.State != tenants.OperationCancelled {
		t.Errorf("the operation is %s", o.State)
	}
	h.redis.Restart()
	h.listens("acme:orders")
	if _, err := h.CancelDeployment(t.Context(), ada, tenant, "mailer", string(d.Deployment.ID)); !isState(err) {
		t.Errorf("cancelling again gives %v", err)
	}
}
