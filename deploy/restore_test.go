package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestRestartBringsBack restarts with apps in every state.
func TestRestartBringsBack(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.version("mailer", h.source("echo-b", text("", "orders")))
	h.deploy("mailer", 1)
	h.app("canary")
	h.version("canary", h.source("echo-a", text("", "bills")))
	h.version("canary", h.source("echo-b", text("", "bills")))
	r := all(2)
	r.Shares = append(r.Shares, all(1).Shares...)
	r.Shares[0].Percent, r.Shares[1].Percent = 50, 50
	h.deployed(h.CreateDeployment(t.Context(), ada, tenant, "canary", r))
	h.app("empty")
	h.app("damaged")
	h.version("damaged", h.source("mark", text("", "news")))
	h.deploy("damaged", 1)
	h.stop()

	next := host(t, h.dir, h.redis)
	next.lose(next.read("damaged", "1").Components["m"])
	back := next.start()
	if back.Apps != 2 || len(back.Failed) != 1 || !strings.HasPrefix(back.Failed[0], "acme/damaged: ") {
		t.Errorf("brought back: %+v", back)
	}
	next.listens("acme:bills", "acme:orders")
	versions := map[tenants.VersionID]int{}
	for i := range 100 {
		for _, one := range next.ask("acme:bills", fmt.Sprint(i)) {
			versions[one.Version]++
		}
	}
	if len(versions) != 2 {
		t.Errorf("the canary's messages were handled by %v", versions)
	}

	next.upload(guest(t, "mark"))
	next.deploy("damaged", 1)
	next.listens("acme:bills", "acme:news", "acme:orders")
}

// BenchmarkThousandApps deploys 1,000 apps of one module of 2 MB and one tenant, from creating each app on, then ends the server and starts it
// again over the same store, until every trigger is acknowledged.
func BenchmarkThousandApps(b *testing.B) {
	const apps = 1000
	for b.Loop() {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		r := redistest.Start(b)
		h := host(b, dir, r)
		h.start()
		h.tenant(tenant, tenants.DefaultPolicy())
		module := large(guest(b, "echo-a"), 2<<20)
		digest := h.upload(module)
		began := time.Now()
		var g errgroup.Group
		g.SetLimit(16)
		for i := range apps {
			g.Go(func() error {
				name := tenants.AppName(fmt.Sprintf("app-%d", i))
				h.app(name)
				s := h.source("echo-a", text("", fmt.Sprintf("channel-%d", i)))
				s.Components["m"] = digest
				h.version(name, s)
				h.deploy(name, 1)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		deployed := time.Since(began)
		h.stop()

		began = time.Now()
		h = host(b, dir, r)
		if back := h.start(); back.Apps != apps {
			b.Fatalf("brought back %d apps, not %d: %v", back.Apps, len(back.Failed), back.Failed)
		}
		started := time.Since(began)
		active := func() (n int) {
			for _, s := range h.scheduler.TargetStates(tenants.DefaultEndpoint) {
				if s.State == scheduler.Active {
					n++
				}
			}
			return n
		}
		h.until("all are subscribed", func() bool { return active() >= apps })
		ready := time.Since(began)
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		h.stop()
		b.ReportMetric(deployed.Seconds(), "s/deploy1000")
		b.ReportMetric(started.Seconds(), "s/started1000")
		b.ReportMetric(ready.Seconds(), "s/restart1000")
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MB-heap")
		if sizes, err := filepath.Glob(filepath.Join(dir, "store.db")); err == nil && len(sizes) == 1 {
			if info, err := os.Stat(sizes[0]); err == nil {
				b.ReportMetric(float64(info.Size())/(1<<20), "MB-store")
			}
		}
	}
}

// large pads a module with a custom section, as debug information does.
func large(module []byte, size int) []byte {
	n := size - len(module)
	name := append([]byte{4}, "debg"...)
	content := append(name, make([]byte, n)...)
	var length []byte
	for v := len(content); ; v >>= 7 {
		if v < 0x80 {
			length = append(length, byte(v))
			break
		}
		length = append(length, byte(v)|0x80)
	}
	return append(append(append(append([]byte{}, module...), 0), length...), content...)
}
