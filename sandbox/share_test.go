package sandbox_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants"
)

// TestShareIsTheTenants: components that have one Budget wait for each other's computing, those with another do not; the deadline ends who
// waits, and the error says what it waited for.
func TestShareIsTheTenants(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	p := compile(t, r, guest(t, "evil"))
	budget := sandbox.NewBudget(0.001)
	greedy := p.Bind(sandbox.Binding{Budget: budget, Timeout: 500 * time.Millisecond})
	neighbour := p.Bind(sandbox.Binding{Budget: budget, Timeout: 200 * time.Millisecond})
	other := p.Bind(sandbox.Binding{Budget: sandbox.NewBudget(1000), Timeout: 20 * time.Second})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			got := invoke(greedy, "loop")
			if got.Outcome != tenants.TimedOut || !strings.Contains(got.Err.Error(), "share of the processors (cpu = 0.001") {
				t.Errorf("greedy: %v", got.Err)
			}
		})
		all.Go(func() {
			for range 5 {
				if got := invoke(other, "nothing"); got.Err != nil {
					t.Errorf("another tenant: %v", got.Err)
				}
			}
		})
	}
	all.Wait()
	got := invoke(neighbour, "nothing") // after all that was taken in advance
	if got.Outcome != tenants.TimedOut || !strings.Contains(got.Err.Error(), "timed out after 200ms, of which it waited") || got.Fuel > 100_000 {
		t.Errorf("neighbour: %v %v, %d units", got.Outcome, got.Err, got.Fuel)
	}
}

// TestShareChanges: who waits for a share that hardly is one goes on when it is made larger, and nobody waits when there is no bound any more.
func TestShareChanges(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	p := compile(t, r, guest(t, "evil"))
	budget := sandbox.NewBudget(0)
	c := p.Bind(sandbox.Binding{Budget: budget, Timeout: time.Hour})
	if got := invoke(c, "nothing"); got.Err != nil {
		t.Fatal(got.Err)
	}
	budget.SetShare(1e-9)
	greedy := p.Bind(sandbox.Binding{Budget: budget, Timeout: 50 * time.Millisecond})
	if got := invoke(greedy, "loop"); got.Outcome != tenants.TimedOut {
		t.Fatal(got.Err)
	}
	for _, share := range []float64{1000, 0} {
		budget.SetShare(1e-9)
		invoke(greedy, "loop") // whoever comes next waits for years
		done := make(chan error)
		go func() { done <- invoke(c, "nothing").Err }() // ends with its invocation
		budget.SetShare(share)
		if err := <-done; err != nil {
			t.Errorf("with a share of %v: %v", share, err)
		}
	}
}
