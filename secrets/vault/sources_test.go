package vault_test

import (
	"strings"
	"testing"

	"github.com/tenloom/tenloom/secrets/vault"
)

// TestSources: a rule gives each tenant's connections a place of their own, and one that would not is refused.
func TestSources(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, want string }{
		{"database/creds/{{ tenant }}_{{ connection }}", "database/creds/acme_cache"},
		{"db/static-creds/tenloom-{{tenant}}", "db/static-creds/tenloom-acme"},
		{"secret/data/tenants/{{ tenant }}/redis/{{ connection }}#user,password", "secret/data/tenants/acme/redis/cache"},
		{"kv/{{ tenant }}/{{ connection }}", "kv/acme/cache"},
	} {
		s, err := vault.ParseSources(row.rule)
		if err != nil {
			t.Errorf("%s: %v", row.rule, err)
			continue
		}
		got := s.For("acme", "cache")
		if got.String() != row.want {
			t.Errorf("%s gives %s, want %s", row.rule, got, row.want)
		}
		if tenant := s.Gives(got); tenant != "acme" {
			t.Errorf("%s: what it gives is %q's", row.rule, tenant)
		}
		if tenant := s.Gives(source(t, "database/creds/platform/x")); tenant != "" {
			t.Errorf("%s gives the platform's to %q", row.rule, tenant)
		}
	}
	for rule, want := range map[string]string{
		"database/creds/tenloom-{{ tenant }}-{{ connection }}": `joins two names`,
		"database/creds/{{ connection }}{{ tenant }}":          `joins two names`,
		"database/creds/{{ connection }}":                      `has no {{ tenant }}`,
		"database/creds/acme":                                  `has no {{ tenant }}`,
		"{{ tenant }}/creds/{{ connection }}":                  `in the mount`,
		"secret/data/{{ tenant }}/{{ app }}":                   `names {{ app }}; there are`,
		"secret/data/{{ tenant }/x":                            `unmatched '{{'`,
		"secret/data/../{{ tenant }}":                          `is no path of Vault`,
		"secret/data/{{ tenant }}/*":                           `is no path of Vault`,
		"secret/data/{{ tenant }}#user":                        `names not two fields`,
		"secret/data/\x01":                                     `is no path of Vault`,
	} {
		if _, err := vault.ParseSources(rule); err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x01\x02") {
			t.Errorf("%s: %v, want %s", rule, err, want)
		}
	}
	// What a tenant is called does not change what kind of place it gets.
	kv, err := vault.ParseSources("kv/{{ tenant }}/{{ connection }}")
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"creds", "static-creds", "data"} {
		if s := kv.For(tenant, "x"); s.IsDynamic() || s.String() != "kv/"+tenant+"/x" {
			t.Errorf("a tenant called %s has %s", tenant, s)
		}
	}
}
