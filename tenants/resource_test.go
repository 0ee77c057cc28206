package tenants_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

var (
	now    = time.Unix(1_700_000_000, 0).UTC()
	sha    = "sha256:" + strings.Repeat("0a", 32)
	verKey = tenants.NewID[tenants.VersionKey](now)
	depID  = tenants.NewID[tenants.DeploymentID](now)
)

func goodVersion() tenants.Version {
	return tenants.Version{
		Key: verKey, Tenant: "acme", App: "mailer", Number: 1, Digest: tenants.VersionID(sha), Manifest: sha,
		Components: map[tenants.ComponentID]string{"mailer": sha}, By: "ann@acme.io", Created: now, State: tenants.VersionUploaded,
	}
}

func goodDeployment() tenants.Deployment {
	return tenants.Deployment{ID: depID, Tenant: "acme", App: "mailer", Weights: []tenants.Weight{{Version: 1, Percent: 100}}, Actor: "ann", State: tenants.DeploymentPending}
}

// Each row is a sound resource, or one with everything wrong that can be.
func TestChecks(t *testing.T) {
	bad := "two\x00words"
	canary := goodDeployment()
	guard := tenants.DefaultGuard()
	canary.Weights, canary.Guard = []tenants.Weight{{Version: 2, Percent: 10}, {Version: 1, Percent: 90}}, &guard
	text := tenants.NewTokenText()
	for name, row := range map[string]struct {
		v    interface{ Check() error }
		want string
	}{
		"tenant":     {tenants.Tenant{ID: "acme", State: tenants.TenantActive}, ""},
		"member":     {tenants.Member{Tenant: "acme", Subject: "ann@acme.io", Role: tenants.Viewer}, ""},
		"app":        {tenants.App{ID: tenants.NewID[tenants.AppID](now), Tenant: "acme", Name: "mailer"}, ""},
		"version":    {goodVersion(), ""},
		"deployment": {goodDeployment(), ""},
		"canary":     {canary, ""},
		"variable":   {tenants.Variable{Tenant: "acme", App: "mailer", Name: "smtp_host"}, ""},
		"secret":     {tenants.Secret{Tenant: "acme", App: "mailer", Name: "password", Sealed: tenants.Sealed("x")}, ""},
		"connection": {tenants.Connection{Tenant: "acme", Name: "main", Address: "rediss://r.example:6380/2"}, ""},
		"token": {tenants.Token{ID: tenants.NewID[tenants.TokenID](now), Tenant: "acme", Role: tenants.Deployer, Name: "ci", Created: now,
			Expires: now.Add(tenants.DefaultTokenLife), Hash: text.Hash()}, ""},
		"operation": {tenants.Operation{ID: tenants.NewID[tenants.OperationID](now), Tenant: "acme", Kind: "version.create", By: "ann", State: tenants.OperationRunning}, ""},

		"bad tenant": {tenants.Tenant{ID: "A", Title: strings.Repeat("x", 201), Reason: bad}, "/name invalid; /title too_long; /state invalid; /reason invalid"},
		"bad member": {tenants.Member{Subject: bad, Role: 9}, "/tenant invalid; /subject invalid; /subject invalid; /role out_of_range"},
		"bad app":    {tenants.App{ID: "x", PausedTriggers: []string{"b", ""}, LastVersion: -1, Deployment: "x"}, "/id invalid; /tenant invalid; /name invalid; /paused_triggers invalid; /paused_triggers/1 missing; /last_version out_of_range; /deployment invalid"},
		"bad version": {tenants.Version{Components: map[tenants.ComponentID]string{"a/b": "x", "": sha}, Git: &tenants.Git{}, Bytes: -1, Message: strings.Repeat("x", 1001)},
			"/id invalid; /tenant invalid; /app invalid; /number out_of_range; /digest invalid; /manifest invalid; /components invalid; /components/a~1b invalid; " +
				"/bytes out_of_range; /message too_long; /git/sha missing; /created_by missing; /state invalid"},
		"no components": {func() tenants.Version { v := goodVersion(); v.Components = nil; return v }(), "/components missing"},
		"bad deployment": {tenants.Deployment{Guard: &tenants.Guard{Errors: 2, Slower: 0.5}, Previous: "x", RollbackOf: "y"},
			"/id invalid; /tenant invalid; /app invalid; /weights out_of_range; /guard invalid; /guard/errors out_of_range; /guard/slower out_of_range; " +
				"/guard/window out_of_range; /guard/least out_of_range; /actor missing; /previous invalid; /rollback_of invalid; /state invalid"},
		"bad weights": {func() tenants.Deployment {
			d := goodDeployment()
			d.Weights = []tenants.Weight{{Version: 1, Percent: 0}, {Version: 1, Percent: 90}}
			return d
		}(), "/weights/0/percent out_of_range; /weights out_of_range; /weights/1/version duplicate"},
		"bad variable":   {tenants.Variable{Name: "A", Value: strings.Repeat("x", 64<<10+1)}, "/tenant invalid; /app invalid; /name invalid; /value too_many"},
		"bad secret":     {tenants.Secret{Tenant: "acme", App: "mailer", Name: "a__b"}, "/name invalid; /value missing"},
		"bad connection": {tenants.Connection{Tenant: "acme", Name: "main", Address: "redis://u:hunter2@h"}, "/address invalid"},
		"unix socket":    {tenants.Connection{Tenant: "acme", Name: "main", Address: "unix:///run/redis.sock"}, "/address invalid"},
		"bad token": {tenants.Token{Scopes: []tenants.Scope{"*.read", "*.read", "all"}, App: "A"},
			"/id invalid; /tenant invalid; /role out_of_range; /app invalid; /scopes/1 duplicate; /scopes/2 invalid; /name missing; /expires out_of_range;  missing"},
		"bad operation": {tenants.Operation{Result: make([]byte, 65<<10)}, "/id invalid; /tenant invalid; /kind missing; /started_by missing; /state invalid; /result too_many"},
		"bad audit":     {tenants.AuditEntry{Chain: "A", Action: "x", Detail: map[string]string{"a": strings.Repeat("x", 9000)}}, "/chain invalid; /actor missing; /action invalid; /outcome missing; /detail too_many"},
	} {
		err := row.v.Check()
		if row.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got := codes(err); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, row.want)
		}
		if strings.Contains(errorText(err), "hunter2") {
			t.Errorf("%s: the fault shows a password: %v", name, err)
		}
	}
}

func TestLives(t *testing.T) {
	v := goodVersion()
	for _, to := range []tenants.VersionState{tenants.VersionValidating, tenants.VersionRejected, tenants.VersionValidating, tenants.VersionCompiling, tenants.VersionReady} {
		if err := v.Move(to, "because", "of this", now); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Move(tenants.VersionRejected, "", "", now); err == nil || v.State != tenants.VersionReady || len(v.Steps) != 5 {
		t.Errorf("ready to rejected: %v, %+v", err, v)
	}
	d := goodDeployment()
	if err := d.Move(tenants.DeploymentLive, "", "", now); err == nil || err.Error() != "deployment "+string(depID)+" is pending, which live cannot follow" {
		t.Error(err)
	}
	for _, to := range []tenants.DeploymentState{tenants.DeploymentRolling, tenants.DeploymentLive, tenants.DeploymentRolledBack} {
		if d.Ended() {
			t.Errorf("%s is final", d.State)
		}
		if err := d.Move(to, "", "", now); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Ended() || !d.Uses(1) || d.Uses(2) {
		t.Errorf("%+v", d)
	}
}

// An operation that notes for ever stays bounded, keeps its beginning and its newest, and cuts text between characters.
func TestStepsAreBounded(t *testing.T) {
	var o tenants.Operation
	o.State = tenants.OperationRunning
	for i := range 1000 {
		o.Note(tenants.Step{State: "step", Reason: string(rune('a' + i%26)), Detail: strings.Repeat("é", 1500), At: now.Add(time.Duration(i))})
	}
	if err := o.End(tenants.OperationDone, now); err != nil {
		t.Fatal(err)
	}
	if err := o.End(tenants.OperationFailed, now); err == nil {
		t.Error("it ended twice")
	}
	if len(o.Steps) != 32 || !o.Steps[0].At.Equal(now) || o.Steps[31].State != "done" || !o.Steps[30].At.Equal(now.Add(999)) || len(o.Steps[3].Detail) != 2000 {
		t.Errorf("%d steps", len(o.Steps))
	}
}

func TestIDs(t *testing.T) {
	a, b := tenants.NewID[tenants.AppID](now), tenants.NewID[tenants.AppID](now)
	if b <= a || !tenants.IsID[tenants.AppID](string(a)) || tenants.IsID[tenants.TokenID](string(a)) || tenants.IsID[tenants.AppID]("app_x") {
		t.Errorf("%s, %s", a, b)
	}
	for _, s := range []string{"", "sha256:", sha + "0", strings.ToUpper(sha), "sha256:" + strings.Repeat("g", 64), "md5:" + strings.Repeat("0", 64)} {
		if tenants.CheckDigest(s) == nil {
			t.Errorf("digest %q is taken", s)
		}
	}
}
