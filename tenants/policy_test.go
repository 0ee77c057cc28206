package tenants_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

func TestPolicyRoundTrip(t *testing.T) {
	p := tenants.DefaultPolicy()
	if err := p.Check(); err != nil {
		t.Fatalf("the default policy: %v", err)
	}
	p.Max.Overflow = tenants.Coalesce
	p.Max.MaxWait = 90 * time.Second
	j, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"max_wait":"1m30s"`, `"overflow":"coalesce"`, `"queue_bytes":67108864`, `"deploys_per_minute":10`} {
		if !strings.Contains(string(j), want) {
			t.Errorf("%s is not in %s", want, j)
		}
	}
	var back tenants.Policy
	if err := json.Unmarshal(j, &back); err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("%v\n got %+v\nwant %+v", err, back, p)
	}
}

func TestPolicyKeepsWhatIsNotGiven(t *testing.T) {
	p := tenants.DefaultPolicy()
	if err := json.Unmarshal([]byte(`{"max":{"timeout":"10s"},"grants":{"apps":3}}`), &p); err != nil {
		t.Fatal(err)
	}
	want := tenants.DefaultPolicy()
	want.Max.Timeout, want.Grants.Apps = 10*time.Second, 3
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v", p)
	}
}

func TestPolicyFaults(t *testing.T) {
	for in, want := range map[string]string{
		`{"wieght":1,"max":{"timeout":10,"memory":-1,"overflow":"spil","x/y":0},"rate":"fast","weight":null,"burst":1,"burst":2}`: `/wieght unknown_field; /max/timeout invalid; ` +
			`/max/memory invalid; /max/overflow invalid; /max/x~1y unknown_field; /rate invalid; /weight invalid; /burst duplicate`,
		`{"max":[]}`:          `/max invalid`,
		`{"grants":"all"}`:    `/grants invalid`,
		`{"queue_count":1.5}`: `/queue_count invalid`,
	} {
		p := tenants.DefaultPolicy()
		if got := codes(json.Unmarshal([]byte(in), &p)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
}

// codes gives the pointers and codes of an error that is Faults.
func codes(err error) string {
	var faults tenants.Faults
	if !errors.As(err, &faults) {
		return "no faults: " + errorText(err)
	}
	var parts []string
	for _, f := range faults {
		parts = append(parts, f.Pointer+" "+f.Code)
	}
	return strings.Join(parts, "; ")
}

func errorText(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

func TestPolicyCheck(t *testing.T) {
	p := tenants.DefaultPolicy()
	p.Weight, p.QueueBytes, p.Rate = 0, -1, -1
	p.CPU = -1
	p.Max.Memory, p.Max.Timeout, p.Max.LogRate, p.Max.OrderBy = 1<<63, -1, -1, "/id"
	p.Grants.Apps = -1
	p.Grants.Hosts = []string{""}
	want := "/weight out_of_range; /queue_bytes out_of_range; /rate out_of_range; /cpu out_of_range; /max/timeout out_of_range; /max/memory out_of_range; /max/log_rate out_of_range; /max/order_by invalid; /grants/hosts/0 missing; /grants/apps out_of_range"
	if got := codes(p.Check()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestGrantsOnChannels(t *testing.T) {
	g := tenants.Grants{Prefixes: []string{"shared.", ""}, Channels: []string{"news", "a*"}}
	for _, row := range []struct {
		kind tenants.Kind
		name string
		ok   bool
	}{
		{tenants.Exact, "acme:orders", true}, {tenants.Exact, "acme", false}, {tenants.Exact, "acme2:x", false}, {tenants.Exact, "other:x", false},
		{tenants.Exact, "news", true}, {tenants.Exact, "newsletter", false}, {tenants.Exact, "shared.x", true},
		{tenants.Pattern, "acme:*", true}, {tenants.Pattern, "acme*", false}, {tenants.Pattern, "*", false}, {tenants.Pattern, "acme[:]x", false},
		{tenants.Pattern, "a?me:x", false}, {tenants.Pattern, `acme\:*`, true}, {tenants.Pattern, `\acme:x`, true}, {tenants.Pattern, `acme\`, false},
		{tenants.Pattern, "a*", true}, {tenants.Pattern, "shared.*", true}, {tenants.Pattern, "share?.*", false},
		{tenants.Stream, "acme:s", true}, {tenants.Exact, "acme*", false},
	} {
		if got := g.MaySubscribe("acme", tenants.Target{Kind: row.kind, Name: row.name}); got != row.ok {
			t.Errorf("%v %q: %v", row.kind, row.name, got)
		}
	}
	for name, ok := range map[string]bool{"acme:x": true, "shared.x": true, "news": true, "x": false, "abc": false} {
		if g.MayPublish("acme", name) != ok {
			t.Errorf("publish %q: %v", name, !ok)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"weight":1,"max":{"timeout":"1s"}}`))
	f.Add([]byte(`{"max":{"timeout":1}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		p := tenants.DefaultPolicy()
		if json.Unmarshal(in, &p) != nil {
			return
		}
		j, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		back := tenants.DefaultPolicy()
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatalf("%s: %v", j, err)
		}
	})
}
