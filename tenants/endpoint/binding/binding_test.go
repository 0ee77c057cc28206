package binding_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func client(t *testing.T, config endpoint.Config) redis.UniversalClient {
	t.Helper()
	o, err := endpoint.New(config)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Client(nil)
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t *testing.T, c redis.UniversalClient, retry binding.Retry, operation, data string, metadata ...string) binding.Answer {
	t.Helper()
	r := binding.Request{Operation: operation, Data: []byte(data), Metadata: map[string]string{}}
	for i := 0; i < len(metadata); i += 2 {
		r.Metadata[metadata[i]] = metadata[i+1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := binding.Do(ctx, c, retry, r)
	if err != nil {
		t.Fatalf("%s %s: %v", operation, metadata, err)
	}
	return a
}

// What is stored comes back as the bytes that it is, and no more of it than MaxValue.
func TestValues(t *testing.T) {
	s := redistest.Start(t)
	for _, protocol := range []int{2, 3} {
		c := client(t, endpoint.Config{Addresses: []string{s.Addr}, Protocol: protocol})
		s.Client().Set(t.Context(), "bytes", "\xff\r\n\x00", 0)
		if a := do(t, c, binding.Retry{}, "get", "", "key", "bytes"); string(a.Data) != "\xff\r\n\x00" || a.JSON {
			t.Errorf("RESP %d: %q", protocol, a.Data)
		}
		if a := do(t, c, binding.Retry{}, "get", "", "key", "nothing"); a.Data != nil || !a.Answers {
			t.Errorf("RESP %d: %q", protocol, a.Data)
		}
		s.Client().Set(t.Context(), "large", strings.Repeat("x", binding.MaxValue), 0)
		if a := do(t, c, binding.Retry{}, "get", "", "key", "large"); len(a.Data) != binding.MaxValue {
			t.Errorf("RESP %d: %d bytes", protocol, len(a.Data))
		}
		s.Client().Append(t.Context(), "large", strings.Repeat("x", 100))
		_, err := binding.Do(t.Context(), c, binding.Retry{Times: 2}, binding.Request{Operation: "get", Metadata: map[string]string{"key": "large"}})
		if err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("RESP %d: %v", protocol, err)
		}
		s.Client().LPush(t.Context(), "list", 1)
		_, err = binding.Do(t.Context(), c, binding.Retry{Times: 2}, binding.Request{Operation: "get", Metadata: map[string]string{"key": "list"}})
		var answered redis.Error
		if !errors.As(err, &answered) || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
			t.Errorf("RESP %d: %v", protocol, err)
		}
	}
}

// The flows of Dapr's certification (components-contrib tests/certification/bindings/redis) that do not take time alone: created and read back by
// somebody else; there after a restart; created during a restart, thanks to retries; increment and get with delete.
func TestCertification(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes")
	c := client(t, endpoint.Config{Addresses: []string{s.Addr}, DialTimeout: time.Second})
	retry := binding.Retry{Times: 100, Min: 8 * time.Millisecond, Max: 512 * time.Millisecond}
	do(t, c, retry, "create", `"certification"`, "key", "one")
	if v := s.Client().Get(t.Context(), "one").Val(); v != `"certification"` {
		t.Errorf("%q", v)
	}
	s.Stop()
	began := make(chan struct{})
	done := make(chan error, 1)
	go func() { // ends with its retries
		close(began)
		_, err := binding.Do(t.Context(), c, retry, binding.Request{Operation: "create", Data: []byte(`2`), Metadata: map[string]string{"key": "two"}})
		done <- err
	}()
	<-began
	s.Restart()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"one": `"certification"`, "two": "2"} {
		if a := do(t, c, retry, "get", "", "key", key); string(a.Data) != want {
			t.Errorf("%s is %q after a restart", key, a.Data)
		}
	}
	do(t, c, retry, "create", "41", "key", "n", "ttlInSeconds", "100")
	if a := do(t, c, retry, "increment", "", "key", "n", "ttl", "20ms"); a.Metadata["value"] != "42" {
		t.Errorf("%v", a.Metadata)
	}
	for deadline := time.Now().Add(time.Minute); s.Client().Exists(t.Context(), "n").Val() != 0 && time.Now().Before(deadline); { // Redis' own clock ends it
	}
	if a := do(t, c, retry, "get", "", "key", "n"); a.Data != nil {
		t.Errorf("%q outlives its ttl", a.Data)
	}
	do(t, c, retry, "create", "1", "key", "d")
	if a := do(t, c, retry, "get", "", "key", "d", "delete", "true"); string(a.Data) != "1" {
		t.Errorf("%q", a.Data)
	}
	if a := do(t, c, retry, "get", "", "key", "d"); a.Data != nil {
		t.Errorf("%q", a.Data)
	}
}

// The same behind Sentinels and on a cluster of three masters, with TLS.
func TestGroups(t *testing.T) {
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	retry := binding.Retry{Times: 100, Min: 8 * time.Millisecond, Max: 512 * time.Millisecond}
	group := map[string]func() redis.UniversalClient{
		"cluster": func() redis.UniversalClient {
			k := redistest.StartCluster(t, redistest.SentinelConfig{TLS: redistest.Secure, CA: ca})
			config, err := endpoint.ParseConfig(k.URL)
			if err != nil {
				t.Fatal(err)
			}
			config.TLS.CA = ca.PEM()
			return client(t, config)
		},
		"sentinel": func() redis.UniversalClient {
			k := redistest.StartSentinel(t, redistest.SentinelConfig{TLS: redistest.Secure, CA: ca})
			config, err := endpoint.ParseConfig(k.URL)
			if err != nil {
				t.Fatal(err)
			}
			config.TLS.CA = ca.PEM()
			return client(t, config)
		},
	}
	for name, start := range group {
		t.Run(name, func(t *testing.T) {
			c := start()
			for i := range 20 {
				key := fmt.Sprint("key", i)
				do(t, c, retry, "create", fmt.Sprint(i), "key", key, "ttl", "1h")
				if a := do(t, c, retry, "increment", "", "key", key, "ttl", "2h"); a.Metadata["value"] != fmt.Sprint(i+1) {
					t.Errorf("%s: %v", key, a.Metadata)
				}
				if a := do(t, c, retry, "get", "", "key", key, "delete", "true"); string(a.Data) != fmt.Sprint(i+1) {
					t.Errorf("%s: %q", key, a.Data)
				}
			}
		})
	}
}

// What could count twice is not done again once it has left.
func TestNothingTwice(t *testing.T) {
	s := redistest.Start(t)
	link := redistest.Proxy(t, s.Addr)
	c := client(t, endpoint.Config{Addresses: []string{link.Addr}, ReadTimeout: 100 * time.Millisecond, DialTimeout: time.Second})
	do(t, c, binding.Retry{}, "increment", "", "key", "n")
	link.Blackhole()
	_, err := binding.Do(t.Context(), c, binding.Retry{Times: 5}, binding.Request{Operation: "increment", Metadata: map[string]string{"key": "n"}})
	link.Restore()
	if err == nil {
		t.Error("the answer was lost, and nothing is said of it")
	}
	if n, _ := s.Client().Get(t.Context(), "n").Int(); n > 2 {
		t.Errorf("it was counted %d times", n-1)
	}
}
