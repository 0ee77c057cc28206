package sandbox_test

import (
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants"
)

// TestHostLimits: a guest that goes beyond a bound on its host calls fails with words that name it; one that stays within is handled. The
// next message begins at nothing again.
func TestHostLimits(t *testing.T) {
	for _, row := range []struct {
		limits      spin.Limits
		good, bad   string
		kind        sandbox.FailureKind
		limit, knob string
	}{
		{spin.Limits{HostCalls: 20}, spending('h', 10), spending('h', 11), sandbox.TooManyCalls, "more than 20 host calls", "host_calls = "},
		{spin.Limits{BytesOut: 1 << 20}, spending('s', 17), spending('s', 18), sandbox.TooMuchSent, "more than 1 MiB", "bytes_out = "},
		{spin.Limits{BytesIn: 600_000}, spending('g', 10), spending('g', 11), sandbox.TooMuchReceived, "more than 600000 bytes", "bytes_in = "},
		{spin.Limits{StoreHandles: 7}, spending('o', 7), spending('o', 8), sandbox.HandlerError, "a store handle because it held 7", "handles = "},
	} {
		c := spender(t, sandbox.Binding{Host: &spin.Host{Stores: map[string]spin.Store{"default": spin.NewMemoryStore(1 << 20)}, Limits: row.limits}})
		for range 3 {
			if got := invoke(c, row.good); got.Err != nil {
				t.Errorf("%s: within the limit: %v", row.knob, got.Err)
			}
			got := invoke(c, row.bad)
			f := failure(t, got)
			if got.Outcome != tenants.Failed || f.Kind != row.kind || !strings.Contains(f.Text, row.limit) || !strings.Contains(f.Text, row.knob) || !strings.Contains(f.Text, "[component.<id>.tool.tenloom]") {
				t.Errorf("%s: %v %+v", row.knob, got.Outcome, f)
			}
		}
	}
}

// TestTableGrowth: a table without a maximum grows to a bound, and then table.grow answers -1.
func TestTableGrowth(t *testing.T) {
	c := bind(t, "table-grow", sandbox.Binding{})
	if got := invoke(c, "x"); got.Err != nil {
		t.Error(got.Err)
	}
}
