package main

import (
	"strings"
	"testing"
)

// TestConfigLayers holds the order of the sources, one above the other for one setting.
func TestConfigLayers(t *testing.T) {
	c := &configuration{values: map[string]given{}}
	for _, step := range []struct {
		source, want string
		take         func() []string
	}{
		{"file", "1s", func() []string { return c.set("drain_timeout", "1s", "file") }},
		{"$TENLOOM_DRAIN_TIMEOUT", "2s", func() []string { return c.readEnvironment([]string{"TENLOOM_DRAIN_TIMEOUT=2s"}) }},
		{"--drain-timeout", "3s", func() []string { return c.set(flagKey("drain-timeout"), "3s", "--drain-timeout") }},
	} {
		if faults := step.take(); faults != nil {
			t.Fatal(faults)
		}
		if got := c.values["drain_timeout"]; got.value != step.want || got.source != step.source {
			t.Errorf("%s of %s, want %s of %s", got.value, got.source, step.want, step.source)
		}
	}
}

func TestConfigEnvironment(t *testing.T) {
	for _, row := range []struct{ variable, key, value, fault, note string }{
		{"TENLOOM_REDIS=redis://h:1", "redis.default.url", "redis://h:1", "", ""},
		{"TENLOOM_REDIS_EVENTS_URL=redis://h:2", "redis.events.url", "redis://h:2", "", ""},
		{"TENLOOM_REDIS_BIG_ONE_URL_FILE=testdata/config/events", "redis.big-one.url", "rediss://x:hunter4@events:6380", "", ""},
		{"TENLOOM_STORE_PASSWORD_FILE=testdata/config/password", "store.password", "hunter3", "", ""},
		{"TENLOOM_STORE_PASSWORD_FILE=testdata/none", "store.password", "", "no such file", ""},
		{"TENLOOM_LIMITS_SLOTS=many", "limits.slots", "", `want a whole number, have "many"`, ""},
		{"TENLOOM_LISTEN=", "listen", "", "", ""}, // empty is not given
		{"TENLOOM_LISTN=x", "listen", "", "", "did you mean $TENLOOM_LISTEN?"},
		{"TENLOOM_SERVICE_HOST=10.0.0.1", "listen", "", "", ""}, // Kubernetes' own
		{"TENLOOM_TOKEN=tlm_x", "listen", "", "", ""},           // the client's
	} {
		c := &configuration{values: map[string]given{}}
		faults := strings.Join(c.readEnvironment([]string{row.variable}), "\n")
		if (faults != "") != (row.fault != "") || !strings.Contains(faults, row.fault) {
			t.Errorf("%s: fault %q, want %q", row.variable, faults, row.fault)
		}
		if notes := strings.Join(c.notes, "\n"); (notes != "") != (row.note != "") || !strings.Contains(notes, row.note) {
			t.Errorf("%s: note %q, want %q", row.variable, notes, row.note)
		}
		if got := c.text(row.key); got != row.value {
			t.Errorf("%s: %s is %q, want %q", row.variable, row.key, got, row.value)
		}
	}
}

// TestConfigNames holds that the three names of a setting are its own, and that each leads back to it.
func TestConfigNames(t *testing.T) {
	seen := map[string]string{}
	for _, s := range settings {
		for _, name := range []string{s.env(), s.flag()} {
			if other := seen[name]; other != "" {
				t.Errorf("%s names %s and %s", name, other, s.key)
			}
			seen[name] = s.key
		}
		if got := flagKey(s.flag()); got != s.key {
			t.Errorf("--%s is for %s, want %s", s.flag(), got, s.key)
		}
		if err := s.check(s.none); s.none != "" && err != nil {
			t.Errorf("the default of %s: %v", s.key, err)
		}
	}
}
