package tenants_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

func deploys(perMinute int) tenants.Policy {
	p := tenants.DefaultPolicy()
	p.Grants.DeploysPerMinute = perMinute
	return p
}

func TestQuotaTake(t *testing.T) {
	q := tenants.NewQuota(deploys(10))
	now := time.Unix(1_700_000_000, 0)
	for i := range 10 {
		if l := q.Take(tenants.DeployMeter, 1, now); !l.OK || l.Remaining != 9-i || l.Limit != 10 || l.Window != time.Minute {
			t.Fatalf("take %d: %+v", i, l)
		}
	}
	l := q.Take(tenants.DeployMeter, 1, now)
	if l.OK || l.Remaining != 0 || l.Wait != 6*time.Second || l.Reset != time.Minute {
		t.Fatalf("empty: %+v", l)
	}
	if l := q.Take(tenants.DeployMeter, 1, now.Add(-time.Hour)); l.OK {
		t.Errorf("a clock that goes back gives: %+v", l)
	}
	if l := q.Take(tenants.DeployMeter, 1, now.Add(l.Wait)); !l.OK {
		t.Errorf("after the wait: %+v", l)
	}
	if l := q.Take(tenants.DeployMeter, 11, now.Add(time.Hour)); l.OK || l.Wait != 0 {
		t.Errorf("more than the limit: %+v", l)
	}
	q.SetPolicy(deploys(0))
	if l := q.Take(tenants.DeployMeter, 1, now.Add(2*time.Hour)); l.OK {
		t.Errorf("nothing is allowed: %+v", l)
	}
}

// Whatever is asked for and when, no stretch of time gets more than the bucket and what flowed in.
func TestQuotaAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		limit := 1 + r.IntN(50)
		q := tenants.NewQuota(deploys(limit))
		start := time.Unix(1_700_000_000, 0)
		now, left, last := start, float64(limit), start
		for range 200 {
			now = now.Add(time.Duration(r.IntN(int(3 * time.Second))))
			left = min(float64(limit), left+now.Sub(last).Seconds()*float64(limit)/60)
			last = now
			n := 1 + r.IntN(3)
			got := q.Take(tenants.DeployMeter, n, now)
			want := float64(n) <= left
			if got.OK != want && left-float64(n) > 1e-6 || got.OK && left-float64(n) < -1e-6 {
				t.Fatalf("limit %d, %v left, took %d: %+v", limit, left, n, got)
			}
			if got.OK {
				left -= float64(n)
			}
		}
	}
}

func TestQuotaHammer(t *testing.T) {
	q := tenants.NewQuota(deploys(100))
	now := time.Unix(1_700_000_000, 0)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if q.Take(tenants.DeployMeter, 1, now).OK {
					taken.Add(1)
				}
				q.SetPolicy(deploys(100))
			}
		})
	}
	wg.Wait()
	if taken.Load() != 100 {
		t.Errorf("%d taken of 100", taken.Load())
	}
}
