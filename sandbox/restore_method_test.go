package sandbox_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
)

// workingResets are the methods that this machine has. It says which it lacks, because those are not tested here.
func workingResets(t testing.TB) (all []sandbox.ResetMethod) {
	t.Helper()
	for _, trial := range sandbox.ResetTrials() {
		if trial.Err != nil {
			t.Logf("left out: %s: %v", trial.Method, trial.Err)
			continue
		}
		all = append(all, trial.Method)
	}
	if len(all) == 0 || all[len(all)-1] != sandbox.ResetByCopy {
		t.Fatalf("%v work: copying does everywhere", all)
	}
	return all
}

// A runtime takes the first method that works, or the one that is asked for, and says so.
func TestResetMethodIsChosen(t *testing.T) {
	best, reason := newRuntime(t, sandbox.Config{}).Reset()
	for _, trial := range sandbox.ResetTrials() {
		if trial.Err == nil {
			if best != trial.Method {
				t.Errorf("resets by %s, %s works", best, trial.Method)
			}
			break
		}
		if !strings.Contains(reason, string(trial.Method)+": "+trial.Err.Error()) {
			t.Errorf("%q does not say why %s is not used: %v", reason, trial.Method, trial.Err)
		}
	}
	for _, how := range workingResets(t) {
		if got, why := newRuntime(t, sandbox.Config{Reset: how}).Reset(); got != how || why != "asked for" {
			t.Errorf("asked for %s, got %s, %q", how, got, why)
		}
	}
	for _, trial := range sandbox.ResetTrials() {
		if trial.Err == nil {
			continue
		}
		if _, err := sandbox.New(context.Background(), sandbox.Config{Reset: trial.Method}); err == nil || !strings.Contains(err.Error(), trial.Err.Error()) {
			t.Errorf("asked for %s, which does not work: %v", trial.Method, err)
		}
	}
	_, err := sandbox.New(context.Background(), sandbox.Config{Reset: "uffd"})
	if err == nil || err.Error() != `there is no reset method "uffd"; there are records, faults, scan, pagemap, copy` {
		t.Errorf("%v", err)
	}
}
