package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
)

// script is a Vault as a http.RoundTripper, for tests in virtual time: dynamic roles and KV, with times to live that are kept.
type script struct {
	mu     sync.Mutex
	down   bool
	began  time.Time
	at     []time.Time // of each request that came, answered or not
	leases map[string]time.Time
	born   map[string]time.Time
	issued int
	dead   int // renewals of leases that had ended
}

const (
	scriptLife = time.Hour
	scriptMost = 24 * time.Hour

	scriptRotates = 6 * time.Hour // all passwords of static roles and secrets change together
)

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.at = append(s.at, now)
	if s.down {
		return nil, errors.New("connection refused")
	}
	var body struct {
		Lease string `json:"lease_id"`
	}
	if r.Body != nil {
		json.NewDecoder(r.Body).Decode(&body) // of most requests it is empty
	}
	lease := body.Lease
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case path == "auth/token/lookup-self":
		return answer(200, `{"data":{"ttl":0,"renewable":false}}`), nil
	case strings.HasPrefix(path, "database/static-creds/"):
		left := scriptRotates - now.Sub(s.began)%scriptRotates
		return answer(200, fmt.Sprintf(`{"data":{"username":"u","password":"p%d","ttl":%d,"rotation_period":%d}}`,
			int(now.Sub(s.began)/scriptRotates), int(math.Ceil(left.Seconds())), int(scriptRotates.Seconds()))), nil
	case strings.HasPrefix(path, "secret/data/"):
		return answer(200, fmt.Sprintf(`{"data":{"data":{"username":"u","password":"p%d"}}}`, int(now.Sub(s.began)/scriptRotates))), nil
	case strings.HasPrefix(path, "database/creds/"):
		s.issued++
		lease = fmt.Sprintf("%s/%d", path, s.issued)
		s.leases[lease], s.born[lease] = now.Add(scriptLife), now
		return answer(200, fmt.Sprintf(`{"lease_id":%q,"lease_duration":3600,"renewable":true,"data":{"username":"u%d","password":"p"}}`, lease, s.issued)), nil
	case path == "sys/leases/renew":
		until, known := s.leases[lease]
		if !known || until.Before(now) {
			s.dead++
			return answer(400, `{"errors":["lease not found"]}`), nil
		}
		left := min(scriptLife, scriptMost-now.Sub(s.born[lease]))
		s.leases[lease] = now.Add(left)
		return answer(200, fmt.Sprintf(`{"lease_id":%q,"lease_duration":%d,"renewable":true}`, lease, int(left.Seconds()))), nil
	case path == "sys/leases/revoke":
		delete(s.leases, lease)
		return answer(204, ""), nil
	}
	return answer(404, `{"errors":[]}`), nil
}

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Header: http.Header{}}
}

// most is the largest number of requests within any window after a time.
func (s *script) most(window time.Duration, after time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, first := 0, 0
	for i, at := range s.at {
		for s.at[first].Before(at.Add(-window)) {
			first++
		}
		if !s.at[first].Before(after) {
			most = max(most, i-first+1)
		}
	}
	return most
}

// TestThousandTenants keeps a thousand tenants' leases for a day and more with an absence of ten minutes in between: no lease ends unasked, the rate
// holds over every minute, while Vault is away a request comes now and then, and when it is back nobody runs.
func TestThousandTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{leases: map[string]time.Time{}, born: map[string]time.Time{}}
		const tenants, rate = 1000, 5
		c, err := vault.New(vault.Config{Address: "http://vault", Auth: vault.Auth{Token: secrets.NewValue("t")}, Rate: rate, Transport: s})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		var all []*vault.Credential
		for i := range tenants {
			all = append(all, c.Open(source(t, fmt.Sprintf("database/creds/t%d", i)), nil))
		}
		began := time.Now()
		time.Sleep(5 * time.Hour) // of the bubble
		s.mu.Lock()
		s.down = true
		before := len(s.at)
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		during := len(s.at) - before
		s.down = false
		s.mu.Unlock()
		back := time.Now()
		time.Sleep(21 * time.Hour)

		if during < 5 || during > 60 {
			t.Errorf("%d requests in 10 minutes of absence", during)
		}
		if n := s.most(time.Minute, began); n > rate*60+rate+1 { // the token beside them
			t.Errorf("%d requests in a minute, want at most %d", n, rate*60+rate+1)
		}
		if n := s.most(time.Second, back); n > 2*rate {
			t.Errorf("%d requests in a second after the absence, want at most %d", n, 2*rate)
		}
		if s.dead > 0 {
			t.Errorf("%d leases ended before they were renewed", s.dead)
		}
		for _, k := range all {
			if _, _, err := k.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.leases) > tenants+tenants/100 {
			t.Errorf("%d leases live for %d tenants", len(s.leases), tenants)
		}
		took := time.Since(began).Seconds()
		t.Logf("%.2f requests a second on average, at most %d in a minute, %d in a second after the absence; %d while away; %d users made",
			float64(len(s.at))/took, s.most(time.Minute, began), s.most(time.Second, back), during, s.issued)
	})
}

// TestThousandWithoutLeases does the same with credentials that have no lease, static roles and KV: all change in the same moment, four times a day,
// and are followed at the rate that holds for everything.
func TestThousandWithoutLeases(t *testing.T) {
	for _, path := range []string{"database/static-creds/t%d", "secret/data/t%d"} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{leases: map[string]time.Time{}, born: map[string]time.Time{}, began: time.Now()}
			const tenants, rate = 1000, 5
			c, err := vault.New(vault.Config{Address: "http://vault", Auth: vault.Auth{Token: secrets.NewValue("t")}, Rate: rate, Transport: s})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); c.Run(ctx) }()
			defer func() { cancel(); <-ended }()
			var moves atomic.Int64
			var slowest atomic.Int64 // from a change to the last that follows
			var all []*vault.Credential
			for i := range tenants {
				all = append(all, c.Open(source(t, fmt.Sprintf(path, i)), func(context.Context, string) error {
					moves.Add(1)
					late := int64(time.Since(s.began) % scriptRotates)
					for was := slowest.Load(); late > was && !slowest.CompareAndSwap(was, late); was = slowest.Load() {
					}
					return nil
				}))
			}
			time.Sleep(7 * time.Hour) // of the bubble: one change
			s.mu.Lock()
			s.down = true
			before := len(s.at)
			s.mu.Unlock()
			time.Sleep(10 * time.Minute)
			s.mu.Lock()
			during := len(s.at) - before
			s.down = false
			s.mu.Unlock()
			back := time.Now()
			time.Sleep(6 * time.Hour) // another

			if during < 5 || during > 60 {
				t.Errorf("%d requests in 10 minutes of absence", during)
			}
			if n := s.most(time.Minute, s.began); n > rate*60+rate+1 {
				t.Errorf("%d requests in a minute, want at most %d", n, rate*60+rate+1)
			}
			if n := s.most(time.Second, back); n > 2*rate {
				t.Errorf("%d requests in a second after the absence, want at most %d", n, 2*rate)
			}
			if n := moves.Load(); n != 2*tenants {
				t.Errorf("%d credentials were followed, want %d", n, 2*tenants)
			}
			if late := time.Duration(slowest.Load()); late > 15*time.Minute {
				t.Errorf("a change was followed after %v", late)
			}
			for _, k := range all {
				if _, password, err := k.Login(t.Context()); err != nil || password != "p2" {
					t.Fatalf("%q %v", password, err)
				}
			}
			t.Logf("%s: %.2f requests a second on average, at most %d in a minute, %d in a second after the absence; %d while away; the last follows %v after a change",
				path, float64(len(s.at))/time.Since(s.began).Seconds(), s.most(time.Minute, s.began), s.most(time.Second, back), during, time.Duration(slowest.Load()))
		})
	}
}

// TestRate holds the rate against a real server: the leases of sixty roles come one after the other.
func TestRate(t *testing.T) {
	s := vaulttest.Start(t)
	guarded(t, s)
	s.Role("acme", statement, time.Hour, time.Hour)
	config := given(s)
	config.Rate, config.Refresh = 20, time.Minute
	began := time.Now()
	c := run(t, config)
	var all []*vault.Credential
	for range 60 {
		all = append(all, c.Open(source(t, "database/creds/acme"), nil))
	}
	for _, k := range all {
		until(t, "each has a user", func() bool { return k.State().User != "" })
	}
	took := time.Since(began).Seconds()
	if n := float64(c.Requests()); n > math.Ceil(20*took)+20+1 {
		t.Errorf("%v requests in %.1f s", n, took)
	}
	if n := len(s.Leases("database/creds/acme")); n != 60 {
		t.Errorf("%d leases for 60 credentials", n)
	}
	t.Logf("%d requests in %.2f s", c.Requests(), took)
}
