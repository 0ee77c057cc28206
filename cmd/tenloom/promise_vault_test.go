package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants"
)

// vaultGet is how much longer a guest's get of a variable takes when its value comes from Vault than when it is static, at the median, in us.
func vaultGet(b *testing.B) float64 {
	s := vaulttest.Start(b)
	s.Put("tenants/acme/shop", map[string]any{"word": "x"})
	part, err := openVault(&vault.Config{Address: s.URL, Auth: vault.Auth{Token: secrets.NewValue(s.Root)}}, "secret/data/tenants/{{ tenant }}/{{ app }}", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer part.close()
	word, err := tenants.ParseTemplate("{{ word }}")
	if err != nil {
		b.Fatal(err)
	}
	component := &manifest.Component{Variables: map[string]manifest.Text{"word": {Raw: "{{ word }}", Template: word}}}
	get := func(p ...secrets.Provider) func(context.Context, string) (string, error) {
		return componentVariables(component, secrets.NewResolver([]secrets.Variable{{Name: "word"}}, p...))
	}
	fixed, fromVault := get(secrets.Static(map[string]string{"word": "x"})), get(part.providers(appKey{"acme", "shop"})...)
	const rounds = 20_000
	var of [2][]time.Duration
	for range rounds {
		for i, ask := range []func(context.Context, string) (string, error){fixed, fromVault} {
			began := time.Now()
			if v, err := ask(background, "word"); err != nil || v != "x" {
				b.Fatal(v, err)
			}
			of[i] = append(of[i], time.Since(began))
		}
	}
	for i := range of {
		slices.Sort(of[i])
	}
	b.Logf("static %v, from Vault %v at the median; %v and %v at the 99th percentile; %d requests", of[0][rounds/2], of[1][rounds/2], of[0][rounds*99/100],
		of[1][rounds*99/100], part.client.Requests())
	return float64(of[1][rounds/2]-of[0][rounds/2]) / float64(time.Microsecond)
}
