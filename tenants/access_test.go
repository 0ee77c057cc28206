package tenants_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

var update = flag.Bool("update", false, "write golden files anew")

// The matrix is meant to be read: one line for each action, one letter for each who.
func TestAccessMatrix(t *testing.T) {
	const acme tenants.ID = "acme"
	who := []struct {
		name string
		p    tenants.Principal
	}{
		{"stranger", tenants.Principal{Subject: "eve", Tenant: "other", Role: tenants.Owner}},
		{"viewer", tenants.Principal{Subject: "v", Tenant: acme, Role: tenants.Viewer}},
		{"deployer", tenants.Principal{Subject: "d", Tenant: acme, Role: tenants.Deployer}},
		{"owner", tenants.Principal{Subject: "o", Tenant: acme, Role: tenants.Owner}},
		{"operator", tenants.Principal{Subject: "op", Operator: true}},
		{"token", tenants.Principal{Subject: "tok_1", Token: true, Tenant: acme, Role: tenants.Owner}},
		{"app token", tenants.Principal{Subject: "tok_2", Token: true, Tenant: acme, Role: tenants.Owner, App: "mailer"}},
		{"other app", tenants.Principal{Subject: "tok_3", Token: true, Tenant: acme, Role: tenants.Owner, App: "biller"}},
		{"reader", tenants.Principal{Subject: "tok_4", Token: true, Tenant: acme, Role: tenants.Owner, Scopes: []tenants.Scope{"*.read"}}},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s", "in acme/mailer")
	for _, w := range who {
		fmt.Fprintf(&b, " %-12s", w.name)
	}
	b.WriteString("\n")
	for _, a := range tenants.Actions() {
		fmt.Fprintf(&b, "%-20s", a)
		for _, w := range who {
			got := tenants.May(w.p, a, tenants.Resource{Tenant: acme, App: "mailer"})
			cell := got.Verdict.String()
			if got.Audited {
				cell += "+"
			}
			fmt.Fprintf(&b, " %-12s", cell)
		}
		b.WriteString("\n")
	}
	golden(t, "access.golden", strings.ReplaceAll(b.String(), " \n", "\n"))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	lines := strings.Split(got, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	got = strings.Join(lines, "\n")
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

// What must hold whatever the table says, over every principal, action and resource that differ in anything May looks at.
func TestAccessLaws(t *testing.T) {
	n := 0
	each(func(p tenants.Principal, r tenants.Resource) {
		for _, a := range append(tenants.Actions(), "unheard.of") {
			n++
			got := tenants.May(p, a, r)
			ok := got.Verdict == tenants.Allowed
			law := func(holds bool, what string) {
				if !holds {
					t.Fatalf("%s: May(%+v, %s, %+v) = %+v", what, p, a, r, got)
				}
			}
			member := p.Tenant == r.Tenant && r.Tenant != "" && p.Role != tenants.NoRole
			law(!ok || a != "unheard.of", "an unknown action is refused")
			law(!ok || member || p.Operator, "only members and operators")
			if r.Tenant != "" && !member && !p.Operator && a != "unheard.of" {
				law(got.Verdict == tenants.Unseen, "a tenant that is not yours does not exist")
			}
			if p.App != "" && r.App != "" && p.App != r.App {
				law(!ok, "a token of one app is good for no other")
			}
			if p.Token {
				law(!ok || a != tenants.CreateToken || p.Operator, "tenants' tokens make no tokens")
			}
			if p.Token && len(p.Scopes) > 0 {
				law(!ok || !a.Writes(), "a scope of reads changes nothing")
			}
			if r.Suspended && !p.Operator {
				law(!ok || !a.Writes(), "nothing of a suspended tenant changes")
			}
			often := a == tenants.PublishMessage || a == tenants.PublishEvent || a == tenants.InvokeBinding || a == tenants.WriteBlob
			law(!ok || !a.Writes() || got.Audited != often, "every change is audited, apart from those that come too often")
			law(!got.Audited || ok, "only what happens is audited")
			if ok && p.Role < tenants.Owner && p.Role != tenants.NoRole {
				more := p
				more.Role++
				law(tenants.May(more, a, r).Verdict == tenants.Allowed, "a higher role may do what a lower one may")
			}
			if ok {
				free := p
				free.Token, free.App, free.Scopes = false, "", nil
				law(tenants.May(free, a, r).Verdict == tenants.Allowed, "a token may not do more than its role")
			}
			if ok && !p.Operator {
				oper := p
				oper.Operator = true
				law(tenants.May(oper, a, r).Verdict == tenants.Allowed, "an operator may do what a member may")
			}
		}
	})
	t.Logf("%d cases", n)
}

func each(f func(tenants.Principal, tenants.Resource)) {
	bools := []bool{false, true}
	for _, tenant := range []tenants.ID{"", "acme", "other"} {
		for role := tenants.NoRole; role <= tenants.Owner; role++ {
			for _, operator := range bools {
				for _, token := range bools {
					for _, app := range []tenants.AppName{"", "mailer", "biller"} {
						for _, scopes := range [][]tenants.Scope{nil, {"*.read"}} {
							p := tenants.Principal{Subject: "s", Token: token, Operator: operator, Tenant: tenant, Role: role}
							if token {
								p.App, p.Scopes = app, scopes
							}
							for _, on := range []tenants.Resource{{}, {Tenant: "acme"}, {Tenant: "acme", App: "mailer"}, {Tenant: "acme", App: "mailer", StartedBy: "s"}} {
								for _, on.Suspended = range bools {
									f(p, on)
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestOperationIsSeenByWhoStartedIt(t *testing.T) {
	on := tenants.Resource{Tenant: "acme", App: "mailer", StartedBy: "ann"}
	for subject, want := range map[string]tenants.Verdict{"ann": tenants.Allowed, "bob": tenants.Refused} {
		p := tenants.Principal{Subject: subject, Tenant: "acme", Role: tenants.Viewer}
		if got := tenants.May(p, tenants.ReadOperation, on); got.Verdict != want {
			t.Errorf("%s: %v, want %v", subject, got.Verdict, want)
		}
	}
}

func TestScopes(t *testing.T) {
	p := tenants.Principal{Token: true, Tenant: "acme", Role: tenants.Owner, Scopes: []tenants.Scope{"versions.*", "deployments.create"}}
	on := tenants.Resource{Tenant: "acme", App: "mailer"}
	for a, want := range map[tenants.Action]tenants.Verdict{
		tenants.CreateVersion: tenants.Allowed, tenants.ReadVersions: tenants.Allowed,
		tenants.CreateDeployment: tenants.Allowed, tenants.CancelDeployment: tenants.OutOfScope, tenants.DeleteApp: tenants.OutOfScope,
	} {
		if got := tenants.May(p, a, on).Verdict; got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	for _, s := range []tenants.Scope{"", "*", "*.*", "versions", "version.*", "versions.creat", ".*"} {
		if s.Check() == nil {
			t.Errorf("scope %q is taken", s)
		}
	}
}
