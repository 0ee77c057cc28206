// Package storetest holds the control store to its promises over every kind of kv.Store.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// Open makes an empty kv.Store that is closed when the test ends.
type Open func(t *testing.T) kv.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, open Open)
	}{
		{"Names", testNames}, {"Together", testTogether}, {"Refuses", testRefuses}, {"ETags", testETags}, {"Pages", testPages},
		{"Tokens", testTokens}, {"Versions", testVersions}, {"TwoDeploys", testTwoDeploys}, {"Uploads", testUploads}, {"Answers", testAnswers}, {"Removal", testRemoval}, {"Watch", testWatch},
		{"Audit", testAudit}, {"AuditHammer", testAuditHammer}, {"Backup", testBackup}, {"BackupDamaged", testBackupDamaged}, {"OpenRefuses", testOpenRefuses},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

const acme tenants.ID = "acme"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func fresh(t *testing.T, open Open) (*store.Store, kv.Store) {
	t.Helper()
	k := open(t)
	s, err := store.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, func(tx *store.Tx) error { return tx.CreateTenant(t.Context(), tenant(acme), tenants.DefaultPolicy()) })
	return s, k
}

func tenant(id tenants.ID) tenants.Tenant {
	return tenants.Tenant{ID: id, State: tenants.TenantActive, Created: now, Changed: now}
}

func do(t *testing.T, s *store.Store, f func(tx *store.Tx) error) store.Revision {
	t.Helper()
	rev, err := s.Update(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// fails runs a change that must be refused for a reason.
func fails(t *testing.T, s *store.Store, want error, f func(tx *store.Tx) error) {
	t.Helper()
	if _, err := s.Update(t.Context(), f); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func app(name tenants.AppName) tenants.App {
	return tenants.App{ID: tenants.NewID[tenants.AppID](now), Tenant: acme, Name: name, Created: now, CreatedBy: "ann"}
}

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func version(name tenants.AppName, n int) tenants.Version {
	return tenants.Version{
		Key: tenants.NewID[tenants.VersionKey](now), Tenant: acme, App: name, Digest: tenants.VersionID(digest(n)), Manifest: digest(n),
		Components: map[tenants.ComponentID]string{"main": digest(n)}, By: "ann", Created: now, State: tenants.VersionReady,
	}
}

func deployment(name tenants.AppName, v int, previous tenants.DeploymentID) tenants.Deployment {
	return tenants.Deployment{ID: tenants.NewID[tenants.DeploymentID](now), Tenant: acme, App: name, Weights: []tenants.Weight{{Version: v, Percent: 100}},
		Actor: "ann", Previous: previous, Created: now, State: tenants.DeploymentPending}
}

func entry(action tenants.Action) tenants.AuditEntry {
	return tenants.AuditEntry{Chain: acme, At: now, Actor: "ann", Action: action, Outcome: "ok"}
}

func create(t *testing.T, s *store.Store, a tenants.App) {
	t.Helper()
	do(t, s, func(tx *store.Tx) error { return tx.CreateApp(t.Context(), a) })
}

func testNames(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	a := app("mailer")
	create(t, s, a)
	v, d := version("mailer", 7), deployment("mailer", 1, "")
	do(t, s, func(tx *store.Tx) error {
		made, created, err := tx.CreateVersion(t.Context(), v)
		if err == nil && (!created || made.Number != 1) {
			t.Errorf("created %v, number %d", created, made.Number)
		}
		return err
	})
	do(t, s, func(tx *store.Tx) error { return tx.CreateDeployment(t.Context(), d) })
	for _, ref := range []string{"mailer", string(a.ID)} {
		if got, err := s.App(t.Context(), acme, ref); err != nil || got.Value.Name != "mailer" || got.Value.Deployment != d.ID || got.Revision == 0 {
			t.Errorf("app %q: %+v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"1", "v1", string(v.Key), digest(7)} {
		if got, err := s.Version(t.Context(), acme, "mailer", ref); err != nil || got.Value.Key != v.Key {
			t.Errorf("version %q: %+v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{store.Current, string(d.ID)} {
		if got, err := s.Deployment(t.Context(), acme, "mailer", ref); err != nil || got.Value.ID != d.ID {
			t.Errorf("deployment %q: %+v, %v", ref, got, err)
		}
	}
	// What is another tenant's, another app's, or no reference at all, is not found.
	do(t, s, func(tx *store.Tx) error {
		return tx.CreateTenant(t.Context(), tenant("other"), tenants.DefaultPolicy())
	})
	for _, ref := range []string{"mailer", string(a.ID), "", "../acme/mailer", "mailer/", strings.Repeat("x", 100_000)} {
		if _, err := s.App(t.Context(), "other", ref); !errors.Is(err, store.ErrNotFound) || len(err.Error()) > 300 {
			t.Errorf("app %.40q of another tenant: %.300v", ref, err)
		}
	}
	for _, ref := range []string{"2", "0", "-1", "v", "latest", digest(8), string(d.ID), "99999999999999999999"} {
		if _, err := s.Version(t.Context(), acme, "mailer", ref); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("version %q: %v", ref, err)
		}
	}
}

// Several records and their audit entry are written together or not at all, and a transaction reads what it wrote.
func testTogether(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	whole := func(tx *store.Tx) error {
		if err := tx.CreateApp(t.Context(), app("mailer")); err != nil {
			return err
		}
		if _, err := tx.App(t.Context(), acme, "mailer"); err != nil {
			return fmt.Errorf("its own write is not there: %w", err)
		}
		if p, err := tx.Apps(t.Context(), acme, store.Query{}); err != nil || len(p.Items) != 1 {
			return fmt.Errorf("its own write is not listed: %v, %w", p.Items, err)
		}
		if _, _, err := tx.CreateVersion(t.Context(), version("mailer", 1)); err != nil {
			return err
		}
		if err := tx.CreateDeployment(t.Context(), deployment("mailer", 1, "")); err != nil {
			return err
		}
		return tx.Audit(t.Context(), entry(tenants.CreateApp))
	}
	no := errors.New("no")
	fails(t, s, no, func(tx *store.Tx) error { return errors.Join(whole(tx), no) })
	if p, err := s.Apps(t.Context(), acme, store.Query{}); err != nil || len(p.Items) != 0 {
		t.Fatalf("after a refusal: %v, %v", p.Items, err)
	}
	rev := do(t, s, whole)
	a, err := s.App(t.Context(), acme, "mailer")
	if err != nil || a.Revision != rev || a.Value.LastVersion != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	v, err := s.Version(t.Context(), acme, "mailer", "1")
	if err != nil || v.Revision != rev {
		t.Errorf("%+v, %v", v, err)
	}
	if head, err := s.AuditHead(t.Context(), acme); err != nil || head.Seq != 1 {
		t.Errorf("%+v, %v", head, err)
	}
	fails(t, s, store.ErrExists, whole)
}

func testRefuses(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	p := tenants.DefaultPolicy()
	p.Grants.Apps, p.Grants.Variables, p.Grants.Members, p.Grants.Tokens, p.Grants.Connections, p.Grants.AppBytes = 1, 2, 1, 1, 1, 10
	do(t, s, func(tx *store.Tx) error { return tx.PutPolicy(ctx, acme, p) })
	create(t, s, app("mailer"))
	var faults tenants.Faults
	if _, err := s.Update(ctx, func(tx *store.Tx) error { return tx.CreateApp(ctx, tenants.App{Name: "A"}) }); !errors.As(err, &faults) {
		t.Errorf("faults: %v", err)
	}
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error { return tx.CreateApp(ctx, app("second")) })
	fails(t, s, store.ErrNotFound, func(tx *store.Tx) error { a := app("x"); a.Tenant = "nobody"; return tx.CreateApp(ctx, a) })
	variable := func(name string) tenants.Variable {
		return tenants.Variable{Tenant: acme, App: "mailer", Name: name, Value: "v"}
	}
	secret := func(name string) tenants.Secret {
		return tenants.Secret{Tenant: acme, App: "mailer", Name: name, Sealed: tenants.Sealed("s")}
	}
	do(t, s, func(tx *store.Tx) error { return tx.PutVariable(ctx, variable("one")) })
	for range 2 {
		do(t, s, func(tx *store.Tx) error { return tx.PutSecret(ctx, secret("two")) })
	}
	if got, err := s.Secret(ctx, acme, "mailer", "two"); err != nil || string(got.Value.Sealed) != "s" || got.Value.Version != 2 {
		t.Errorf("%+v, %v", got.Value.Version, err)
	}
	if a, err := s.App(ctx, acme, "mailer"); err != nil || a.Value.Generation != 3 {
		t.Errorf("generation %d, %v", a.Value.Generation, err)
	}
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error { return tx.PutVariable(ctx, variable("three")) })
	fails(t, s, store.ErrExists, func(tx *store.Tx) error { return tx.PutVariable(ctx, variable("two")) })
	fails(t, s, store.ErrExists, func(tx *store.Tx) error { return tx.PutSecret(ctx, secret("one")) })
	fails(t, s, store.ErrNotFound, func(tx *store.Tx) error { return tx.DeleteVariable(ctx, acme, "mailer", "two") })
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error {
		v := version("mailer", 1)
		v.Bytes = 11
		_, _, err := tx.CreateVersion(ctx, v)
		return err
	})
	member := func(subject string) tenants.Member {
		return tenants.Member{Tenant: acme, Subject: subject, Role: tenants.Viewer}
	}
	odd := "https://id.example/a b#1"
	fails(t, s, store.ErrNotFound, func(tx *store.Tx) error { return tx.DeleteMember(ctx, acme, odd) })
	subject := "https://id.example/#1"
	do(t, s, func(tx *store.Tx) error { return tx.PutMember(ctx, member(subject)) })
	do(t, s, func(tx *store.Tx) error { return tx.PutMember(ctx, member(subject)) })
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error { return tx.PutMember(ctx, member("bob")) })
	if p, err := s.Memberships(ctx, subject, store.Query{}); err != nil || len(p.Items) != 1 || p.Items[0].Value != acme {
		t.Errorf("%+v, %v", p.Items, err)
	}
	do(t, s, func(tx *store.Tx) error {
		return tx.PutConnection(ctx, tenants.Connection{Tenant: acme, Name: "main", Address: "redis://r", Login: tenants.Sealed("sealed")})
	})
	if got, err := s.Connection(ctx, acme, "main"); err != nil || string(got.Value.Login) != "sealed" {
		t.Errorf("%v", err)
	}
}

func testETags(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	have, err := s.Policy(ctx, acme)
	if err != nil {
		t.Fatal(err)
	}
	tag := s.ETag(have.Revision)
	change := func(ifMatch string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			have, err := tx.Policy(ctx, acme)
			if err != nil {
				return err
			}
			if err := s.Match(ifMatch, have.Revision); err != nil {
				return err
			}
			have.Value.Weight++
			return tx.PutPolicy(ctx, acme, have.Value)
		}
	}
	do(t, s, change(`"other", `+tag))
	fails(t, s, store.ErrMismatch, change(tag))
	fails(t, s, store.ErrMismatch, change("W/"+tag))
	do(t, s, change("*"))
	do(t, s, change(""))
	if got, err := s.Policy(ctx, acme); err != nil || got.Value.Weight != 4 {
		t.Errorf("weight %d, %v", got.Value.Weight, err)
	}
}

// A list is walked in pages while others add and remove.
func testPages(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	for i := 0; i < 25; i += 2 {
		create(t, s, app(tenants.AppName(fmt.Sprintf("app-%02d", i))))
	}
	var names []string
	q := store.Query{Limit: 5}
	for n := 0; ; n++ {
		p, err := s.Apps(ctx, acme, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Items {
			names = append(names, string(a.Value.Name))
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
		if n == 0 {
			create(t, s, app("app-01")) // behind the cursor
			create(t, s, app("app-23")) // before it
			if err := s.DeleteApp(ctx, acme, "app-08", nil); err != nil {
				t.Fatal(err) // the one that the cursor stands on
			}
		}
	}
	want := "app-00 app-02 app-04 app-06 app-08 app-10 app-12 app-14 app-16 app-18 app-20 app-22 app-23 app-24"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	p, err := s.Apps(ctx, acme, store.Query{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, func(tx *store.Tx) error { return tx.CreateTenant(ctx, tenant("other"), tenants.DefaultPolicy()) })
	for _, c := range []string{"x", "!", strings.Repeat("A", 4000), p.Next + "AA=="} {
		if _, err := s.Apps(ctx, acme, store.Query{Cursor: c}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("cursor %.20q: %v", c, err)
		}
	}
	if _, err := s.Apps(ctx, "other", store.Query{Cursor: p.Next}); !errors.Is(err, store.ErrCursor) {
		t.Errorf("a cursor of another tenant's list: %v", err)
	}
}

func testTokens(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	create(t, s, app("mailer"))
	text := tenants.NewTokenText()
	token := tenants.Token{ID: tenants.NewID[tenants.TokenID](now), Tenant: acme, Role: tenants.Deployer, App: "mailer", Scopes: []tenants.Scope{"versions.*"},
		Name: "ci", Hint: text.Hint(), Hash: text.Hash(), Created: now, By: "ann", Expires: now.Add(48 * time.Hour)}
	do(t, s, func(tx *store.Tx) error { return tx.CreateToken(ctx, token) })
	fails(t, s, store.ErrExists, func(tx *store.Tx) error {
		again := token
		again.ID = tenants.NewID[tenants.TokenID](now)
		return tx.CreateToken(ctx, again)
	})
	for i, at := range []time.Duration{time.Hour, time.Hour + time.Minute, 3 * time.Hour} {
		got, err := s.Authenticate(ctx, text.Reveal(), now.Add(at))
		if err != nil || got.ID != token.ID || got.Principal().App != "mailer" {
			t.Fatalf("%+v, %v", got, err)
		}
		have, err := s.Token(ctx, acme, token.ID)
		if want := now.Add([]time.Duration{time.Hour, time.Hour, 3 * time.Hour}[i]); err != nil || !have.Value.LastUsed.Equal(want) {
			t.Errorf("last used %v, want %v, %v", have.Value.LastUsed, want, err)
		}
	}
	for name, try := range map[string]struct {
		text string
		at   time.Time
	}{"expired": {text.Reveal(), now.Add(48 * time.Hour)}, "another": {tenants.NewTokenText().Reveal(), now}, "none": {"", now}, "garbage": {"tlm_x", now}} {
		if _, err := s.Authenticate(ctx, try.text, try.at); !errors.Is(err, store.ErrUnauthenticated) || err.Error() != store.ErrUnauthenticated.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An app that goes takes its tokens along: one of the same name later is another app.
	if err := s.DeleteApp(ctx, acme, "mailer", nil); err != nil {
		t.Fatal(err)
	}
	create(t, s, app("mailer"))
	if _, err := s.Authenticate(ctx, text.Reveal(), now); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("after its app: %v", err)
	}
	operator := tenants.NewTokenText()
	op := tenants.Token{ID: tenants.NewID[tenants.TokenID](now), Operator: true, Name: "op", Hash: operator.Hash(), Created: now, Expires: now.Add(time.Hour)}
	do(t, s, func(tx *store.Tx) error { return tx.CreateToken(ctx, op) })
	if got, err := s.Authenticate(ctx, operator.Reveal(), now); err != nil || !got.Operator {
		t.Errorf("%+v, %v", got, err)
	}
	do(t, s, func(tx *store.Tx) error { return tx.RevokeToken(ctx, "", op.ID) })
	if _, err := s.Authenticate(ctx, operator.Reveal(), now); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

// An app keeps a hundred versions; the oldest go, but not those that take traffic or can be rolled back to.
func testVersions(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	create(t, s, app("mailer"))
	add := func(n int) (made tenants.Version, created bool) {
		do(t, s, func(tx *store.Tx) (err error) {
			made, created, err = tx.CreateVersion(ctx, version("mailer", n))
			return err
		})
		return made, created
	}
	add(1)
	if v, created := add(1); created || v.Number != 1 {
		t.Errorf("the same content: number %d, created %v", v.Number, created)
	}
	first := deployment("mailer", 1, "")
	do(t, s, func(tx *store.Tx) error { return tx.CreateDeployment(ctx, first) })
	for n := 2; n <= 103; n++ {
		add(n)
	}
	p, err := s.Versions(ctx, acme, "mailer", store.Query{Limit: 500})
	if err != nil || len(p.Items) != tenants.VersionsKept || p.Items[0].Value.Number != 103 || p.Items[99].Value.Number != 1 || p.Items[98].Value.Number != 5 {
		t.Fatalf("%d versions, %v", len(p.Items), err)
	}
	if v, created := add(2); !created || v.Number != 104 {
		t.Errorf("one that went comes again: number %d, created %v", v.Number, created)
	}
	fails(t, s, store.ErrState, func(tx *store.Tx) error { return tx.DeleteVersion(ctx, acme, "mailer", 1) })
	do(t, s, func(tx *store.Tx) error { return tx.DeleteVersion(ctx, acme, "mailer", 50) })
	fails(t, s, store.ErrNotFound, func(tx *store.Tx) error { return tx.CreateDeployment(ctx, deployment("mailer", 50, first.ID)) })
	if named, err := s.NamedArtifacts(ctx); err != nil || len(named) != 99 || !named[digest(1)] || named[digest(50)] || !named[digest(103)] {
		t.Errorf("%d artifacts are named, %v", len(named), err)
	}
	changed := p.Items[0].Value
	changed.Manifest = digest(999)
	changed.Steps = []tenants.Step{{State: "ready", At: now}}
	do(t, s, func(tx *store.Tx) error { return tx.PutVersion(ctx, changed) })
	if got, err := s.Version(ctx, acme, "mailer", "103"); err != nil || got.Value.Manifest != digest(103) || len(got.Value.Steps) != 1 {
		t.Errorf("%+v, %v", got.Value, err)
	}
}

// Of many who deploy at once each works on what it has seen: one wins, the others hear of it.
func testTwoDeploys(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	create(t, s, app("mailer"))
	do(t, s, func(tx *store.Tx) error { _, _, err := tx.CreateVersion(ctx, version("mailer", 1)); return err })
	results := make([]error, 6)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			_, results[i] = s.Update(ctx, func(tx *store.Tx) error { return tx.CreateDeployment(ctx, deployment("mailer", 1, "")) })
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, store.ErrMismatch) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
	d, err := s.Deployment(ctx, acme, "mailer", store.Current)
	if err != nil {
		t.Fatal(err)
	}
	v := version("mailer", 2)
	v.State = tenants.VersionCompiling
	do(t, s, func(tx *store.Tx) error { _, _, err := tx.CreateVersion(ctx, v); return err })
	fails(t, s, store.ErrState, func(tx *store.Tx) error { return tx.CreateDeployment(ctx, deployment("mailer", 2, d.Value.ID)) })
	if err := d.Value.Move(tenants.DeploymentRolling, "", "", now); err != nil {
		t.Fatal(err)
	}
	do(t, s, func(tx *store.Tx) error { return tx.PutDeployment(ctx, d.Value) })
}

func testRemoval(t *testing.T, open Open) {
	s, k := fresh(t, open)
	ctx := t.Context()
	before, err := k.List(ctx, kv.Range{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, func(tx *store.Tx) error { return tx.CreateTenant(ctx, tenant("gone"), tenants.DefaultPolicy()) })
	for i := range 3 {
		a := app(tenants.AppName(fmt.Sprintf("app-%d", i)))
		a.Tenant = "gone"
		create(t, s, a)
		v := version(a.Name, i)
		v.Tenant = "gone"
		text := tenants.NewTokenText()
		do(t, s, func(tx *store.Tx) error {
			_, _, err := tx.CreateVersion(ctx, v)
			return errors.Join(err,
				tx.PutVariable(ctx, tenants.Variable{Tenant: "gone", App: a.Name, Name: "x"}),
				tx.Claim(ctx, "gone", now, digest(i)),
				tx.PutMember(ctx, tenants.Member{Tenant: "gone", Subject: fmt.Sprintf("m%d", i), Role: tenants.Owner}),
				tx.CreateOperation(ctx, tenants.Operation{ID: tenants.NewID[tenants.OperationID](now), Tenant: "gone", Kind: "x", By: "ann", State: tenants.OperationRunning}),
				tx.CreateToken(ctx, tenants.Token{ID: tenants.NewID[tenants.TokenID](now), Tenant: "gone", Role: tenants.Viewer, Name: "t", Hash: text.Hash(), Created: now, Expires: now.Add(1)}))
		})
	}
	// A removal that was cut short after its first step: nothing can be added, and it can be done again.
	stop := errors.New("stop")
	if err := s.DeleteTenant(ctx, "gone", func(*store.Tx) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	half := tenant("gone")
	half.State = tenants.TenantDeleting
	do(t, s, func(tx *store.Tx) error { return tx.PutTenant(ctx, half) })
	fails(t, s, store.ErrState, func(tx *store.Tx) error { a := app("late"); a.Tenant = "gone"; return tx.CreateApp(ctx, a) })
	fails(t, s, store.ErrState, func(tx *store.Tx) error { return tx.PutTenant(ctx, tenant("gone")) })
	if err := s.DeleteTenant(ctx, "gone", nil); err != nil {
		t.Fatal(err)
	}
	after, err := k.List(ctx, kv.Range{KeysOnly: true})
	if err != nil || len(after) != len(before) {
		t.Errorf("%d records, %d before, %v: %v", len(after), len(before), err, after)
	}
	if err := s.DeleteTenant(ctx, "gone", nil); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func testWatch(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	seen := map[string]store.Change{}
	step := 0
	for c, err := range s.Watch(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Reset != (step == 0) {
			t.Errorf("step %d: reset %v", step, c.Reset)
		}
		for _, item := range c.Items {
			seen[fmt.Sprintf("%s %s/%s/%s", item.Noun, item.Tenant, item.App, item.Name)] = item
		}
		if step++; step == 1 {
			create(t, s, app("mailer"))
			do(t, s, func(tx *store.Tx) error {
				_, _, err := tx.CreateVersion(ctx, version("mailer", 1))
				return errors.Join(err, tx.PutMember(ctx, tenants.Member{Tenant: acme, Subject: "a/b", Role: tenants.Owner}), tx.Audit(ctx, entry(tenants.CreateApp)),
					tx.PutSecret(ctx, tenants.Secret{Tenant: acme, App: "mailer", Name: "x", Sealed: tenants.Sealed("s")}))
			})
			do(t, s, func(tx *store.Tx) error { return tx.DeleteSecret(ctx, acme, "mailer", "x") })
			do(t, s, func(tx *store.Tx) error { return tx.PutTenant(ctx, tenant(acme)) })
		}
		if step > 1 && seen["tenant acme//"].Revision >= c.Revision {
			break
		}
	}
	for key, want := range map[string]bool{"tenant acme//": true, "policy acme//": true, "app acme/mailer/mailer": true, "version acme/mailer/1": true, "member acme//a/b": true} {
		if (seen[key].Value != nil) != want {
			t.Errorf("%s: %+v", key, seen[key])
		}
	}
	if got, ok := seen["secret acme/mailer/x"]; !ok || !got.Deleted {
		t.Errorf("the deleted secret: %+v", got)
	}
	if v, ok := seen["version acme/mailer/1"].Value.(tenants.Version); !ok || v.Number != 1 {
		t.Errorf("%+v", seen["version acme/mailer/1"])
	}
	if len(seen) != 6 {
		t.Errorf("%d resources: %v", len(seen), seen)
	}
}

func testAudit(t *testing.T, open Open) {
	s, k := fresh(t, open)
	ctx := t.Context()
	for i := range 30 {
		do(t, s, func(tx *store.Tx) error {
			e := entry(tenants.UpdateApp)
			e.Detail = map[string]string{"n": fmt.Sprint(i), "html": "<&>"}
			return tx.Audit(ctx, e)
		})
	}
	var out bytes.Buffer
	if err := s.ExportAudit(ctx, &out, acme); err != nil {
		t.Fatal(err)
	}
	head, err := tenants.VerifyAudit(store.ReadAudit(&out), tenants.AuditHead{})
	if err != nil || head.Seq != 30 {
		t.Fatalf("%+v, %v", head, err)
	}
	if got, err := s.VerifyAudit(ctx, acme); err != nil || got != head {
		t.Fatalf("%+v, %v", got, err)
	}
	p, err := s.Audits(ctx, acme, store.Query{Limit: 3})
	if err != nil || len(p.Items) != 3 || p.Items[0].Value.Seq != 30 || p.Next == "" {
		t.Errorf("%+v, %v", p, err)
	}
	// Somebody with the file at hand changes an entry, or cuts the end off.
	r, err := k.Get(ctx, fmt.Sprintf("l/audit/acme/%016d", 12))
	if err != nil {
		t.Fatal(err)
	}
	forge := func(w kv.Write) {
		t.Helper()
		if _, err := k.Commit(ctx, nil, []kv.Write{w}); err != nil {
			t.Fatal(err)
		}
	}
	forge(kv.Write{Key: r.Key, Value: bytes.Replace(r.Value, []byte("ann"), []byte("eve"), 1)})
	if _, err := s.VerifyAudit(ctx, acme); !errors.Is(err, tenants.ErrAuditBroken) || !strings.Contains(err.Error(), "entry 12") {
		t.Errorf("changed: %v", err)
	}
	forge(kv.Write{Key: r.Key, Value: r.Value})
	forge(kv.Write{Key: fmt.Sprintf("l/audit/acme/%016d", 30)})
	if _, err := s.VerifyAudit(ctx, acme); !errors.Is(err, tenants.ErrAuditBroken) {
		t.Errorf("cut off: %v", err)
	}
}

func testAuditHammer(t *testing.T, open Open) {
	s, _ := fresh(t, open)
	ctx := t.Context()
	const workers, each = 4, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := 0; n < each; {
				_, err := s.Update(ctx, func(tx *store.Tx) error { return tx.Audit(ctx, entry(tenants.UpdateApp)) })
				switch {
				case err == nil:
					n++
				case !errors.Is(err, store.ErrContended):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if head, err := s.VerifyAudit(ctx, acme); err != nil || head.Seq != workers*each {
		t.Errorf("%+v, %v", head, err)
	}
}
