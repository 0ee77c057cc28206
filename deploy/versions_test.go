package deploy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func TestVersionIsMadeOnce(t *testing.T) {
	h := fresh(t)
	s := h.source("echo-a", text("", "orders"))
	v := h.version("mailer", s)
	if v.Number != 1 || v.State != tenants.VersionReady {
		t.Fatalf("version %d is %s", v.Number, v.State)
	}
	var states []string
	for _, step := range v.Steps {
		states = append(states, step.State)
	}
	if want := []string{"uploaded", "validating", "compiling", "ready"}; !slices.Equal(states, want) {
		t.Errorf("it went through %v, want %v", states, want)
	}
	again, err := h.CreateVersion(t.Context(), ada, tenant, "mailer", s)
	if err != nil || !again.Unchanged || again.Version.Key != v.Key || again.Operation != "" {
		t.Errorf("the same content again is %+v, %v", again, err)
	}
	h.app("other")
	if twin := h.version("other", s); twin.Digest != v.Digest || twin.Number != 1 {
		t.Errorf("the same content in another app is version %d, %s", twin.Number, twin.Digest)
	}
}

func TestVersionIsRefusedWithAllFaults(t *testing.T) {
	h := fresh(t)
	echo := h.upload(guest(t, "echo-a"))
	components := map[tenants.ComponentID]string{"m": echo}
	absent := "sha256:" + strings.Repeat("0", 64)
	withFiles := text("files = [\"a.txt\"]\n", "orders")
	for _, row := range []struct {
		name   string
		source deploy.VersionSource
		code   deploy.ProblemCode
		faults []string // pointers, and what the detail begins with
	}{
		{"manifest", deploy.VersionSource{Manifest: text("colour = 1\nshape = 2\n", "orders"), Components: components}, deploy.InvalidManifest,
			[]string{"/component/m/colour spin.toml:9:1:", "/component/m/shape spin.toml:10:1:"}},
		{"a manifest of 1 MB", deploy.VersionSource{Manifest: strings.Repeat("#\n", 1<<19), Components: components}, deploy.TooLarge, nil},
		{"no module", deploy.VersionSource{Manifest: text("", "orders")}, deploy.ArtifactMissing, []string{"/components/m the component's module"}},
		{"not uploaded", deploy.VersionSource{Manifest: text("", "orders"), Components: map[tenants.ComponentID]string{"m": absent}}, deploy.ArtifactMissing,
			[]string{"/components/m sha256:000"}},
		{"no digest", deploy.VersionSource{Manifest: text("", "orders"), Components: map[tenants.ComponentID]string{"m": "../../etc/passwd"}}, deploy.InvalidVersion,
			[]string{"/components/m digest"}},
		{"strangers", deploy.VersionSource{Manifest: text("", "orders"), Components: map[tenants.ComponentID]string{"m": echo, "x/y": echo},
			Files: map[tenants.ComponentID]map[string]string{"z": {}}}, deploy.InvalidVersion,
			[]string{"/components/x~1y the manifest has no", "/files/z the manifest has no"}},
		{"files that the manifest has not", deploy.VersionSource{Manifest: text("", "orders"), Components: components,
			Files: map[tenants.ComponentID]map[string]string{"m": {"a.txt": echo}}}, deploy.InvalidVersion, []string{"/files/m the manifest gives"}},
		{"files that are not named", deploy.VersionSource{Manifest: withFiles, Components: components}, deploy.InvalidVersion, []string{"/files/m the manifest gives"}},
		{"paths", deploy.VersionSource{Manifest: withFiles, Components: components, Files: map[tenants.ComponentID]map[string]string{"m": {
			"../x": echo, "/etc/passwd": echo, "a//b": echo, "a/./b": echo, "b\\c": echo, "c\x00d": echo, "d": echo, "d/e": echo, ".": echo, "": echo, strings.Repeat("p", 1025): echo,
		}}}, deploy.InvalidVersion, []string{"/files/m/ ", "/files/m/. ", "/files/m/..~1x ", "/files/m/~1etc~1passwd ", "/files/m/a~1.~1b ", "/files/m/a~1~1b ",
			"/files/m/b\\c ", "/files/m/c\x00d ", "/files/m/d~1e ", "/files/m/" + strings.Repeat("p", 1025) + " "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := h.CreateVersion(t.Context(), ada, tenant, "mailer", row.source)
			p := problem(t, err, row.code)
			if len(p.Faults) != len(row.faults) {
				t.Fatalf("got %d faults, want %d: %v", len(p.Faults), len(row.faults), p.Faults)
			}
			for i, f := range p.Faults {
				if got := f.Pointer + " " + f.Detail; !strings.HasPrefix(got, row.faults[i]) {
					t.Errorf("fault %d is %q, want %q...", i, got, row.faults[i])
				}
			}
		})
	}
	page, err := h.store.Versions(t.Context(), tenant, "mailer", store.Query{})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("the refused sources left %d versions, %v", len(page.Items), err)
	}
	if ops, _ := h.store.Operations(t.Context(), tenant, store.Query{}); len(ops.Items) != 0 {
		t.Errorf("they left %d operations", len(ops.Items))
	}
}

func TestVersionIsRejectedWithReasons(t *testing.T) {
	h := fresh(t)
	s := h.source("import-module", text("sqlite_databases = [\"default\"]\n[component.m.tool.tenloom]\ntimeout = \"10m\"\nmemory = \"2GiB\"\n", "orders"))
	made, err := h.CreateVersion(t.Context(), ada, tenant, "mailer", s)
	if err != nil {
		t.Fatal(err)
	}
	o := h.wait(made.Operation)
	var p deploy.Problem
	if err := json.Unmarshal(o.Problem, &p); err != nil || o.State != tenants.OperationFailed {
		t.Fatalf("the operation is %s, %s, %v", o.State, o.Problem, err)
	}
	if p.Code != deploy.DeployRefused || len(p.Faults) != 3 {
		t.Errorf("it was refused by %s for %v", p.Code, p.Faults)
	}
	v := h.read("mailer", "1")
	last := v.Steps[len(v.Steps)-1]
	if v.State != tenants.VersionRejected || last.Reason != string(deploy.DeployRefused) || !strings.Contains(last.Detail, "timeout") {
		t.Errorf("the version is %s: %+v", v.State, last)
	}
	_, err = h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(1))
	problem(t, err, deploy.VersionNotReady)

	policy := tenants.DefaultPolicy()
	policy.Max.Timeout, policy.Max.Memory = 1<<40, 4<<30
	if err := h.SetPolicy(t.Context(), ada, tenant, policy, ""); err != nil {
		t.Fatal(err)
	}
	again, err := h.CreateVersion(t.Context(), ada, tenant, "mailer", s)
	if err != nil || !again.Unchanged || again.Operation == "" {
		t.Fatalf("a rejected version is not tried again: %+v, %v", again, err)
	}
	if err := json.Unmarshal(h.wait(again.Operation).Problem, &p); err != nil || len(p.Faults) != 1 {
		t.Errorf("now it is refused for %v, %v", p.Faults, err)
	}
}

func TestVersionsOfOneSourceAtOnce(t *testing.T) {
	h := fresh(t)
	s := h.source("echo-a", text("", "orders"))
	made := make(chan deploy.Created, 20)
	for range cap(made) {
		go func() { // ends with its answer
			one, err := h.CreateVersion(t.Context(), ada, tenant, "mailer", s)
			if err != nil {
				t.Error(err)
			}
			made <- one
		}()
	}
	began := 0
	for range cap(made) {
		one := <-made
		if one.Version.Number != 1 {
			t.Errorf("it is version %d", one.Version.Number)
		}
		if !one.Unchanged {
			began++
		}
		if one.Operation != "" {
			h.done(one.Operation)
		}
	}
	if v := h.read("mailer", "1"); began != 1 || v.State != tenants.VersionReady {
		t.Errorf("%d made it, and it is %s", began, v.State)
	}
}

func TestFilesAreMounted(t *testing.T) {
	h := fresh(t)
	s := h.source("reader", text("files = [{ source = \"assets\", destination = \"/\" }]\n", "orders"))
	s.Files = map[tenants.ComponentID]map[string]string{"m": {"deep/er/greeting.txt": h.upload([]byte("hello from a file")), "x": h.upload(nil)}}
	v := h.version("mailer", s)
	if len(v.Files) != 1 {
		t.Fatalf("the version has %d lists of files", len(v.Files))
	}
	h.deploy("mailer", 1)
	h.listens("acme:orders")
	if got := h.ask("acme:orders", "file deep/er/greeting.txt"); len(got) != 1 || !strings.Contains(got[0].Output, "hello from a file") {
		t.Errorf("the guest reads %+v", got)
	}
	named, err := h.NamedArtifacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, digest := range map[string]string{"a file": s.Files["m"]["x"], "the module": s.Components["m"], "the manifest": v.Manifest, "the list": v.Files["m"]} {
		if !named[digest] {
			t.Errorf("%s would be collected", what)
		}
	}
}

// TestVersionsAreKept makes more versions than are kept, after deployments that failed: what takes traffic stays, and so does what it is made of.
func TestVersionsAreKept(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.deploy("mailer", 1)
	h.set(map[string]string{"topic": "bills"})
	v2 := h.version("mailer", h.source("echo-b", "spin_manifest_version = 2\n[application]\nname = \"mailer\"\n[variables]\ntopic = { required = true }\n"+
		"[[trigger.redis]]\nchannel = \"{{ topic }}\"\ncomponent = \"m\"\n[component.m]\nsource = \"m.wasm\"\n"))
	h.change(func(tx *store.Tx) error { return tx.DeleteVariable(t.Context(), tenant, "mailer", "topic") })
	for range 3 {
		d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(2))
		if err != nil {
			t.Fatal(err)
		}
		if o := h.wait(d.Operation); o.State != tenants.OperationFailed {
			t.Fatalf("the operation is %s", o.State)
		}
	}
	s := h.source("mark", "")
	for i := range tenants.VersionsKept {
		s.Manifest = text(fmt.Sprintf("description = \"%d\"\n", i), "orders")
		h.version("mailer", s)
	}
	page, err := h.store.Versions(t.Context(), tenant, "mailer", store.Query{Limit: store.MaxPage})
	if err != nil || len(page.Items) != tenants.VersionsKept || page.Items[len(page.Items)-1].Value.Number != 1 {
		t.Fatalf("%d versions are kept, %v", len(page.Items), err)
	}
	if err := h.DeleteVersion(t.Context(), ada, tenant, "mailer", "1"); !isState(err) {
		t.Errorf("removing what takes traffic gives %v", err)
	}
	if err := h.DeleteVersion(t.Context(), ada, tenant, "mailer", "50"); err != nil {
		t.Error(err)
	}
	if _, err := h.artifacts.Collect(t.Context(), time.Now().Add(time.Hour), h.NamedArtifacts); err != nil {
		t.Fatal(err)
	}
	for digest, want := range map[string]bool{v2.Manifest: false, v2.Components["m"]: false, h.read("mailer", "1").Components["m"]: true} {
		if _, err := h.artifacts.Stat(t.Context(), digest); (err == nil) != want {
			t.Errorf("artifact %s after the collection: %v", digest, err)
		}
	}
	h = h.again(func(*hosted) {})
	h.listens("acme:orders")
}
