package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
	"github.com/tenloom/tenloom/tenants/store"
)

// crashDir and crashRedis tell a child of TestKilledInTheMiddle where to work.
const (
	crashDir   = "TENLOOM_TEST_CRASH_DIR"
	crashRedis = "TENLOOM_TEST_CRASH_REDIS"
)

// TestKilledInTheMiddle kills a server, again and again, that makes versions and deploys them, at any moment; the next one finds the store
// sound, serves what was live, and has ended what was half done.
func TestKilledInTheMiddle(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		deployForever(t, dir, os.Getenv(crashRedis))
		return
	}
	dir, r := t.TempDir(), redistest.Start(t)
	h := host(t, dir, r)
	h.start()
	h.tenant(tenant, tenants.DefaultPolicy())
	h.app("mailer")
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.deploy("mailer", 1)
	h.stop()
	for round := range 6 {
		child := exec.Command(os.Args[0], "-test.run", "^TestKilledInTheMiddle$", "-test.timeout", "5m")
		child.Env = append(os.Environ(), crashDir+"="+dir, crashRedis+"="+r.Addr)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		out.Read(b[:]) // it is at work
		timer := time.NewTimer(time.Duration(rand.IntN(300)) * time.Millisecond)
		<-timer.C
		child.Process.Kill()
		var killed *exec.ExitError
		if err := child.Wait(); !errors.As(err, &killed) || killed.ExitCode() != -1 {
			t.Fatalf("round %d: the child ended by itself: %v", round, err)
		}
		h = host(t, dir, r)
		sound(h, h.start())
		h.stop()
	}
}

// deployForever is the child.
func deployForever(t *testing.T, dir, addr string) {
	h := host(t, dir, &redistest.Server{Addr: addr, URL: "redis://" + addr})
	h.start()
	module := h.upload(guest(t, "echo-a"))
	begin := time.Now().UnixNano()
	fmt.Println("at work")
	for i := 0; ; i++ {
		s := deploy.VersionSource{Manifest: text("description = \""+strconv.FormatInt(begin, 36)+strconv.Itoa(i)+"\"\n", "orders"),
			Components: map[tenants.ComponentID]string{"m": module}}
		v := h.version("mailer", s)
		d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(v.Number))
		if err != nil {
			t.Fatal(err)
		}
		h.done(d.Operation)
	}
}

// sound wants the app to be served by the version that the store says is live, and nothing to be left half done.
func sound(h *hosted, r deploy.Restored) {
	t := h.t
	t.Helper()
	if r.Apps != 1 || len(r.Failed) > 0 {
		t.Fatalf("brought back: %+v", r)
	}
	h.listens("acme:orders")
	var live tenants.Deployment
	for id := h.deployment("mailer", store.Current).ID; id != ""; {
		d := h.deployment("mailer", string(id))
		id = d.Previous
		switch d.State {
		case tenants.DeploymentPending, tenants.DeploymentRolling:
			t.Errorf("deployment %s is still %s", d.ID, d.State)
		case tenants.DeploymentLive:
			if live.ID != "" {
				t.Errorf("%s and %s are live", live.ID, d.ID)
			}
			live = d
			id = ""
		}
	}
	v := h.read("mailer", strconv.Itoa(live.Weights[0].Version))
	if got := h.ask("acme:orders", "hi"); len(got) != 1 || got[0].Version != v.Digest || got[0].Outcome != tenants.Handled {
		t.Errorf("live is version %d, and a message was handled by %+v", v.Number, got)
	}
	if _, err := h.store.VerifyAudit(context.Background(), tenant); err != nil {
		t.Error(err)
	}
	h.until("no operation is running", func() bool {
		page, err := h.store.Operations(context.Background(), tenant, store.Query{Limit: store.MaxPage})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Items {
			if o.Value.State == tenants.OperationRunning {
				return false
			}
		}
		return true
	})
	page, err := h.store.Versions(context.Background(), tenant, "mailer", store.Query{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range page.Items {
		if s := v.Value.State; s != tenants.VersionReady && s != tenants.VersionRejected {
			t.Errorf("version %d is still %s", v.Value.Number, s)
		}
	}
}
