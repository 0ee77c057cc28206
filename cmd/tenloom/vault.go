package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// vaultSettings are how the server uses a Vault. No secret stands among them: files are read at each sign-in.
var vaultSettings = []setting{
	{"vault.address", aText, "", "Vault for variables and for credentials of Redis: https://HOST:8200 (default: none)", true},
	{"vault.namespace", aText, "", "Vault: namespace", true},
	{"vault.ca", aText, "", "Vault: PEM file of the authority that issued its certificate (default: the system's)", true},
	{"vault.cert", aText, "", "Vault: PEM file of the certificate to show", true},
	{"vault.key", aText, "", "Vault: PEM file of that certificate's key", true},
	{"vault.auth", aText, vault.Token, "Vault: how to sign in: token, approle, kubernetes or jwt", true},
	{"vault.auth_mount", aText, "", "Vault: where that method is enabled (default: its name)", true},
	{"vault.token_file", aText, "", "Vault: file with the token", true},
	{"vault.role_id", aText, "", "Vault: role id of the AppRole", true},
	{"vault.secret_id_file", aText, "", "Vault: file with the secret id of the AppRole", true},
	{"vault.role", aText, "", "Vault: role for kubernetes and jwt", true},
	{"vault.jwt_file", aText, "", "Vault: file with the identity's token, for jwt and kubernetes (default there: the service account's)", true},
	{"vault.variables", aText, "", "Vault: where variables stand that are not set here: MOUNT/data/PATH, with {{ tenant }}, {{ app }} and {{ name }}, and #FIELD", true},
	{"vault.connections", aText, "", "Vault: where tenants' own connections have user and password that take them from there, as redis.NAME.vault, with {{ tenant }} and {{ connection }}", true},
	{"vault.refresh", aDuration, vault.DefaultRefresh.String(), "Vault: age at which what was read is read again", true},
	{"vault.stale", aDuration, vault.DefaultStale.String(), "Vault: age to which it is used while Vault is away", true},
	{"vault.rate", aNumber, fmt.Sprint(vault.DefaultRate), "Vault: requests per second on average", true},
}

// vaultConfig reads the settings; nil where there is no Vault.
func (c *configuration) vaultConfig() (*vault.Config, error) {
	if c.text("vault.address") == "" {
		return nil, nil
	}
	v := &vault.Config{
		Address: c.text("vault.address"), Namespace: c.text("vault.namespace"),
		Auth: vault.Auth{
			Method: c.text("vault.auth"), Mount: c.text("vault.auth_mount"), TokenFile: c.text("vault.token_file"), RoleID: c.text("vault.role_id"),
			SecretIDFile: c.text("vault.secret_id_file"), Role: c.text("vault.role"), JWTFile: c.text("vault.jwt_file"),
		},
		Rate: float64(c.number("vault.rate")), Refresh: c.duration("vault.refresh"), Stale: c.duration("vault.stale"),
	}
	unread := readPEM(v, c.text("vault.ca"), c.text("vault.cert"), c.text("vault.key"))
	return v, errors.Join(unread, v.Check())
}

// readPEM reads the certificates of a Vault from files. Of a certificate and its key that were not both read none is there.
func readPEM(v *vault.Config, ca, cert, key string) error {
	var faults []error
	for _, one := range []struct {
		what, file string
		pem        *[]byte
	}{{"ca", ca, &v.CA}, {"cert", cert, &v.Cert}, {"key", key, &v.Key}} {
		if one.file == "" {
			continue
		}
		text, err := os.ReadFile(one.file)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", one.what, err))
			continue
		}
		*one.pem = text
	}
	if cert != "" && key != "" && (v.Cert == nil || v.Key == nil) {
		v.Cert, v.Key = nil, nil
	}
	return errors.Join(faults...)
}

// vaultFaults are what is wrong with the settings of Vault, and with what needs it.
func (c *configuration) vaultFaults() (faults []string) {
	if _, err := c.vaultConfig(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			faults = append(faults, "vault."+strings.Replace(line, "auth token: give the token, or the file that holds it", "token_file: it is not said which file holds the token", 1))
		}
	}
	if path := c.text("vault.variables"); path != "" {
		if _, err := vault.ParseVariables(path); err != nil {
			faults = append(faults, fmt.Sprintf("vault.variables: %v (%s)", err, c.values["vault.variables"].source))
		}
	}
	needed := []string{"vault.variables", "vault.connections"}
	var sources *vault.Sources
	if rule := c.text("vault.connections"); rule != "" {
		s, err := vault.ParseSources(rule)
		if sources = &s; err != nil {
			sources = nil
			faults = append(faults, fmt.Sprintf("vault.connections: %v (%s)", err, c.values["vault.connections"].source))
		}
	}
	for _, name := range c.redisNames() {
		key := "redis." + name + ".vault"
		if path := c.text(key); path != "" {
			needed = append(needed, key)
			source, err := vault.ParseSource(path)
			if err != nil {
				faults = append(faults, fmt.Sprintf("%s: %v (%s)", key, err, c.values[key].source))
				continue
			}
			if sources == nil {
				continue
			}
			if tenant := sources.Gives(source); tenant != "" {
				faults = append(faults, fmt.Sprintf("%s: vault.connections gives the same credential to a tenant called %q; put them in different places (%s)", key, tenant, c.values[key].source))
			}
		}
	}
	for _, key := range needed {
		if c.text(key) != "" && c.text("vault.address") == "" {
			faults = append(faults, fmt.Sprintf("%s: it is not said where Vault is (%s)\n  vault.address = \"https://HOST:8200\"", key, c.values[key].source))
		}
	}
	return faults
}

// vaultPart is the Vault of a server: what runs beside it, and the credentials of its Redis servers.
type vaultPart struct {
	client      *vault.Client
	kv          *vault.KV // nil where no variables come from there
	credentials map[tenants.EndpointID]*vault.Credential
	sources     *vault.Sources // of tenants' connections; nil where none come from there
	life        context.Context
	inspecting  sync.WaitGroup // one for each dynamic role, until it is found fit
	stop        context.CancelFunc
	ended       chan struct{}
	log         *slog.Logger

	mu    sync.Mutex
	unfit map[tenants.EndpointID]string // what is wrong with the creation statements; "" nothing
}

// openVault begins to use the Vault of a configuration; nil where there is none. variables and connections are the rules where those stand, "" for
// none.
func openVault(c *vault.Config, variables, connections string, log *slog.Logger) (*vaultPart, error) {
	if c == nil {
		return nil, nil
	}
	c.Log = log
	client, err := vault.New(*c)
	if err != nil {
		return nil, err
	}
	var kv *vault.KV
	if variables != "" {
		k, err := vault.ParseVariables(variables)
		if err != nil {
			return nil, err
		}
		if kv, err = client.KV(k); err != nil {
			return nil, err
		}
	}
	var sources *vault.Sources
	if connections != "" {
		s, err := vault.ParseSources(connections)
		if err != nil {
			return nil, err
		}
		sources = &s
	}
	p := runVault(client)
	p.kv, p.sources = kv, sources
	if log != nil {
		p.log = log
	}
	return p, nil
}

// offersConnections tells whether tenants' connections can have their credentials from here.
func (p *vaultPart) offersConnections() bool { return p != nil && p.sources != nil }

// lend begins to keep the credential of a tenant's connection; nil where there are none. moved is as vault.Client.Open has it.
func (p *vaultPart) lend(t tenants.ID, name string, moved func(ctx context.Context, why string) error) *vault.Credential {
	if !p.offersConnections() {
		return nil
	}
	return p.client.Open(p.sources.For(string(t), name), moved)
}

// providers are those of one application's variables.
func (p *vaultPart) providers(key appKey) []secrets.Provider {
	if p == nil || p.kv == nil {
		return nil
	}
	return []secrets.Provider{p.kv.For(string(key.tenant), string(key.app))}
}

// credential has the options of a Redis server log in with what a path of Vault gives, from now on. renew moves the connections of subscribers;
// clients move by themselves.
func (p *vaultPart) credential(id tenants.EndpointID, options *endpoint.Options, path string, renew func(context.Context, tenants.EndpointID, string) error) (*endpoint.Options, error) {
	source, err := vault.ParseSource(path)
	if err != nil {
		return nil, err
	}
	k := p.client.Open(source, func(ctx context.Context, why string) error {
		return renew(ctx, id, "another credential is in force: "+why)
	})
	secured, err := options.With(func(c *endpoint.Config) { c.Credentials, c.Refused, c.Version = k.Login, k.Refused, k.Version })
	if err != nil {
		k.Close()
		return nil, err
	}
	p.credentials[id] = k
	p.inspecting.Go(func() { p.inspect(id, k) }) // ends with life
	return secured, nil
}

// inspectEvery is how often the creation statement of a role that is not fit is read again.
const inspectEvery = 10 * time.Second

// inspect looks at the creation statement that makes a server's users, as far as the policy lets it be read, until there is nothing to say against it.
func (p *vaultPart) inspect(id tenants.EndpointID, k *vault.Credential) {
	if !k.Source().IsDynamic() {
		return
	}
	tick := time.NewTicker(inspectEvery)
	defer tick.Stop()
	for {
		statements, err := p.client.Statements(p.life, k.Source())
		var told *vault.Error
		if errors.As(err, &told) && told.Kind == vault.Denied {
			return
		}
		var faults []string
		if err == nil {
			faults = vault.CheckStatement(statements)
			p.note(id, k, faults)
		}
		if err == nil && faults == nil {
			return
		}
		select {
		case <-p.life.Done():
			return
		case <-tick.C:
		}
	}
}

// note keeps what is wrong with a creation statement, for people.
func (p *vaultPart) note(id tenants.EndpointID, k *vault.Credential, faults []string) {
	text := ""
	if faults != nil {
		mount, role := k.Source().Role()
		text = fmt.Sprintf("the creation statement of %s/roles/%s is not fit: %s; tenloom doctor --vault-role TENANT prints one that is", mount, role, strings.Join(faults, "; "))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != "" && p.unfit[id] == "" {
		p.log.Error("a Redis user of Vault's will not be able to subscribe", "redis", id, "cause", text)
	}
	p.unfit[id] = text
}

// unfitness is what is wrong with the creation statement of a server's users, "" where nothing is known to be.
func (p *vaultPart) unfitness(id tenants.EndpointID) string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unfit[id]
}

// observe is a telemetry.Source.
func (p *vaultPart) observe(add func(telemetry.Family)) {
	if p == nil {
		return
	}
	state := p.client.State()
	add(telemetry.GaugeOf("tenloom.vault.leases", "{lease}", "Credentials that Vault has lent and that are renewed.", float64(len(state.Credentials))))
	add(telemetry.GaugeOf("tenloom.vault.secrets", "{secret}", "Secrets of Vault that are remembered.", float64(state.Secrets)))
	add(telemetry.CounterOf("tenloom.vault.requests", "{request}", "Requests to Vault.", float64(state.Requests)))
}

// condition tells how the credential of a Redis server stands, "" where it has none.
func (p *vaultPart) condition(id tenants.EndpointID) string {
	if p == nil || p.credentials[id] == nil {
		return ""
	}
	return "; credential " + p.credentials[id].State().String()
}

// advise says what to do where Redis refuses to let a user of Vault's subscribe.
func (p *vaultPart) advise(id tenants.EndpointID, reason string) string {
	if p == nil || p.credentials[id] == nil {
		return ""
	}
	return statementAdvice(p.credentials[id], reason, "--vault-role TENANT")
}

// statementAdvice says which call of doctor prints a creation statement that allows what Redis refused to a user of a dynamic role.
func statementAdvice(k *vault.Credential, reason, asked string) string {
	if _, role := k.Source().Role(); role != "" && strings.Contains(reason, "NOPERM") {
		return fmt.Sprintf("; the creation statement of role %q does not allow it: tenloom doctor %s prints one that does", role, asked)
	}
	return ""
}

// close ends everything, and gives up what Vault holds for us.
func (p *vaultPart) close() error {
	if p == nil {
		return nil
	}
	p.stop()
	<-p.ended
	p.inspecting.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return p.client.Close(ctx)
}
