package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
)

func text(s string) *string { return &s }

// vault stands for a provider behind a network: it has one name and fails for another.
type vault struct{}

func (vault) String() string { return "vault" }

func (vault) Lookup(ctx context.Context, name string) (secrets.Value, bool, error) {
	switch name {
	case "leased":
		return secrets.NewValue("from-vault"), true, ctx.Err()
	case "broken":
		return secrets.Value{}, false, errors.New("status 503")
	}
	return secrets.Value{}, false, nil
}

func sample() *secrets.Resolver {
	return secrets.NewResolver([]secrets.Variable{
		{Name: "given", Default: text("default")},
		{Name: "plain", Default: text("default")},
		{Name: "empty", Default: text("default")},
		{Name: "leased", Required: true},
		{Name: "broken", Default: text("default")},
		{Name: "nowhere", Required: true},
		{Name: "nowhere_2", Required: true, Secret: true},
	},
		secrets.Static(map[string]string{"given": "first", "empty": "", "undeclared": secret}), vault{},
		secrets.Static(map[string]string{"given": "last", "leased": "last", "broken": secret}))
}

func TestGet(t *testing.T) {
	rows := []struct {
		name, value string
		kind        error
		message     string
	}{
		{name: "given", value: "first"},
		{name: "plain", value: "default"},
		{name: "empty", value: ""},
		{name: "leased", value: "from-vault"},
		{name: "broken", kind: secrets.ErrProvider, message: `variable provider vault: look up "broken": status 503`},
		{name: "nowhere", kind: secrets.ErrProvider, message: "variable provider: no value for required variable nowhere\n" +
			"  give it with --variable nowhere=value or TENLOOM_VARIABLE_NOWHERE"},
		{name: "undeclared", kind: secrets.ErrUndefined, message: `undefined variable: the application declares no variable "undeclared"`},
		{name: "Given", kind: secrets.ErrInvalidName, message: `invalid variable name: variable name "Given": lower-case letters, ` +
			`digits and single inner "_" only, a letter first; got 'G' at 0`},
	}
	r := sample()
	for _, row := range rows {
		v, err := r.Get(t.Context(), row.name)
		if !errors.Is(err, row.kind) || err != nil && err.Error() != row.message {
			t.Errorf("%s: error %q, want %q of kind %v", row.name, err, row.message, row.kind)
		}
		if v.Reveal() != row.value {
			t.Errorf("%s is %q, want %q", row.name, v.Reveal(), row.value)
		}
		for _, other := range []error{secrets.ErrProvider, secrets.ErrUndefined, secrets.ErrInvalidName} {
			if other != row.kind && errors.Is(err, other) {
				t.Errorf("%s: %v is also of kind %v", row.name, err, other)
			}
		}
	}
}

func TestRender(t *testing.T) {
	r := sample()
	template, err := tenants.ParseTemplate("redis://{{ given }}:{{ empty }}@{{ leased }}/{{ plain }}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Render(t.Context(), template)
	if want := "redis://first:@from-vault/default"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	template, err = tenants.ParseTemplate("{{ given }}{{ nowhere }}")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Render(t.Context(), template); got != "" || !errors.Is(err, secrets.ErrProvider) {
		t.Errorf("%q, %v", got, err)
	}
}

// A value that changes is seen by the next call: nothing is kept.
func TestRenderIsLive(t *testing.T) {
	r := secrets.NewResolver([]secrets.Variable{{Name: "mood", Default: text("calm")}}, secrets.Env(secrets.EnvPrefix))
	template, err := tenants.ParseTemplate("{{ mood }}")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"glad", "sad"} {
		t.Setenv("TENLOOM_VARIABLE_MOOD", want)
		if got, err := r.Render(t.Context(), template); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

func TestCheckReportsAllAtOnce(t *testing.T) {
	err := sample().Check(t.Context())
	want := `variable provider vault: look up "broken": status 503
no value for required variables nowhere, nowhere_2
  give it with --variable nowhere=value or TENLOOM_VARIABLE_NOWHERE
  give it with --variable nowhere_2=value or TENLOOM_VARIABLE_NOWHERE_2`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	var missing *secrets.MissingError
	if !errors.As(err, &missing) || fmt.Sprint(missing.Names) != "[nowhere nowhere_2]" {
		t.Errorf("%+v", missing)
	}
	if !errors.Is(err, secrets.ErrProvider) {
		t.Error("the failed provider is not of kind ErrProvider")
	}
	if err := secrets.NewResolver(nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestErrorsHoldNoValues(t *testing.T) {
	r := sample()
	for _, name := range []string{"broken", "nowhere", "undeclared", "Given", strings.Repeat("x_", 1<<16)} {
		_, err := r.Get(t.Context(), name)
		if err == nil || leaks(err.Error()) || leaks(fmt.Sprintf("%+v %#v", err, err)) || len(err.Error()) > 500 {
			t.Errorf("%.20s: %.500v", name, err)
		}
	}
}

func TestResolverHammer(t *testing.T) {
	t.Setenv("SPIN_VARIABLE_PLAIN", "env")
	r := secrets.NewResolver([]secrets.Variable{{Name: "given"}, {Name: "plain", Default: text("default")}},
		secrets.Static(map[string]string{"given": "first"}), secrets.Env(secrets.EnvPrefix, secrets.SpinEnvPrefix))
	template, err := tenants.ParseTemplate("{{ given }} {{ plain }}")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got, err := r.Render(t.Context(), template); err != nil || got != "first env" {
					t.Errorf("%q, %v", got, err)
				}
				if err := r.Check(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
