package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants"
)

// vaultRole are the flags of doctor --vault-role.
type vaultRole struct {
	tenant     string
	patterns   []string
	connection string // of the tenant's own; "" for what the platform offers
	triggers   bool
	mount      string
}

func (r *vaultRole) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.tenant, "vault-role", "", "print the creation statement and the policy for a tenant's credentials of Redis")
	flags.StringArrayVar(&r.patterns, "pattern", nil, "with --vault-role: a pattern that the tenant's triggers subscribe to, as it stands there")
	flags.BoolVar(&r.triggers, "triggers", false, "with --vault-role: ask the server which channels and patterns the tenant's triggers subscribe to now")
	flags.StringVar(&r.connection, "connection", "", "with --vault-role: for a connection of the tenant's own, whose names are what they say")
	flags.StringVar(&r.mount, "vault-mount", "database", "with --vault-role: path of the database engine")
}

// check says what is wrong with the flags.
func (r *vaultRole) check() error {
	if err := tenants.CheckName(r.tenant); err != nil {
		return fail(exitUsage, "--vault-role: %w", err)
	}
	if err := tenants.CheckName(r.connection); r.connection != "" && err != nil {
		return fail(exitUsage, "--connection: %w", err)
	}
	return nil
}

// statement is what creates the user. Beside the patterns that were given, live are the names that the tenant's triggers subscribe to now.
func (r *vaultRole) statement(live []string) string {
	if r.connection != "" {
		return vault.OwnStatement(scheduler.ControlPrefix, append(live, r.patterns...))
	}
	for _, p := range r.patterns {
		if own := r.tenant + ":"; !strings.HasPrefix(p, own) {
			p = own + p // as the server is asked for it
		}
		live = append(live, p)
	}
	return vault.Statement(r.tenant, scheduler.ControlPrefix, live)
}

// subscribed asks the server what the tenant's triggers subscribe to on the Redis in question, by the names that it has there. Channels that begin with
// the tenant's name are left out where that is allowed anyway.
func (r *vaultRole) subscribed(ctx context.Context, c *client) (names []string, err error) {
	doc, _, err := c.call(ctx, http.MethodGet, c.of("triggers"), nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data []struct {
			Kind, Target, Endpoint string
			Actual                 string `json:"actual_target"`
		}
	}
	if err := json.Unmarshal(doc, &answer); err != nil {
		return nil, fmt.Errorf("read the triggers: %w", err)
	}
	for _, t := range answer.Data {
		id, _, _ := strings.Cut(t.Endpoint, "#")
		name := cmp.Or(t.Actual, t.Target)
		covered := r.connection == "" && t.Kind != tenants.Pattern.String() && strings.HasPrefix(name, r.tenant+":")
		here := r.connection == "" && !strings.Contains(id, "/") || r.connection != "" && id == r.tenant+"/"+r.connection
		if here && !covered && t.Kind != tenants.Stream.String() && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// print writes what an operator pastes.
func (r *vaultRole) print(ctx context.Context, g *globals, cmd *cobra.Command, out screen) error {
	if err := r.check(); err != nil {
		return err
	}
	var live []string
	if r.triggers {
		g.tenant = r.tenant
		c, err := g.client(cmd)
		if err != nil {
			return err
		}
		if live, err = r.subscribed(ctx, c); err != nil {
			return err
		}
	}
	mount, role := strings.Trim(r.mount, "/"), r.tenant
	if r.connection != "" {
		role += "_" + r.connection
	}
	statement := r.statement(live)
	source, err := vault.ParseSource(mount + "/creds/" + role)
	if err != nil {
		return fail(exitUsage, "--vault-mount: %w", err)
	}
	var policy []string
	for _, n := range source.Needs() {
		policy = append(policy, vault.PolicyLine(n.Path, n.Capability))
	}
	if out.isJSON() {
		doc, err := json.Marshal(map[string]any{"creation_statement": statement, "role": mount + "/roles/" + role, "policy": policy, "path": source.String()})
		if err != nil {
			return err
		}
		return out.json(doc)
	}
	lines := [][]string{
		{"# The dynamic role. Redis compares a pattern with those allowed as text: name each with --pattern, or read them off with --triggers."},
		{fmt.Sprintf("vault write %s/roles/%s db_name=REDIS default_ttl=1h max_ttl=24h \\", mount, role)},
		{"  creation_statements='" + statement + "'"},
		{""},
		{"# The policy of the token that tenloom signs in with."},
	}
	for _, line := range policy {
		lines = append(lines, []string{line})
	}
	setting := "redis.NAME.vault = \"" + source.String() + "\""
	if r.connection != "" {
		setting = "vault.connections = \"" + mount + "/creds/{{ tenant }}_{{ connection }}\""
	}
	lines = append(lines, []string{""}, []string{"# The credential, in the server's configuration: " + setting})
	return out.rows("", lines)
}

// vaultFindings look at the Vault of a server's configuration: whether we are signed in, and may read what the configuration names.
func vaultFindings(ctx context.Context, file string) ([]finding, error) {
	flags := configFlags{file: file, values: map[string]*string{}, set: pflag.NewFlagSet("doctor", pflag.ContinueOnError)}
	c, err := flags.read()
	if err != nil {
		return nil, err
	}
	given, err := c.vaultConfig()
	if err != nil || given == nil {
		return nil, err
	}
	part, err := openVault(given, "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer part.close() // the findings say what there is to say
	ctx, cancel := context.WithTimeout(ctx, 2*doctorWait)
	defer cancel()
	if err := part.client.Ready(ctx); err != nil {
		return []finding{vaultTrouble("vault", err)}, nil
	}
	state := part.client.State()
	all := []finding{{"vault", statusOK, given.Address + ", signed in by " + c.text("vault.auth") + ", " + state.String(), ""}}
	if !state.Until.IsZero() && !state.Renewable && !state.Again {
		all[0].Status = statusNote
	}
	if path := c.text("vault.variables"); path != "" {
		all = append(all, variablesFinding(ctx, part.client, path))
	}
	for _, name := range c.redisNames() {
		if path := c.text("redis." + name + ".vault"); path != "" {
			all = append(all, credentialFindings(ctx, part.client, name, path)...)
		}
	}
	return all, nil
}

func vaultTrouble(check string, err error) finding {
	var told *vault.Error
	if errors.As(err, &told) {
		return finding{check, statusFail, told.Path + ": " + told.Detail, told.Next}
	}
	return finding{check, statusFail, err.Error(), ""}
}

func variablesFinding(ctx context.Context, c *vault.Client, path string) finding {
	const check = "vault variables"
	k, err := vault.ParseVariables(path)
	if err != nil {
		return finding{check, statusFail, err.Error(), ""}
	}
	kv, err := c.KV(k)
	if err != nil {
		return finding{check, statusFail, err.Error(), ""}
	}
	return allowedFinding(ctx, c, check, []vault.Need{{Path: kv.PolicyPath("TENANT", "APP"), Capability: "read"}})
}

// credentialFindings ask what we may do with a source of credentials. No credential is made.
func credentialFindings(ctx context.Context, c *vault.Client, name, path string) []finding {
	check := "vault redis " + name
	s, err := vault.ParseSource(path)
	if err != nil {
		return []finding{{check, statusFail, err.Error(), ""}}
	}
	all := []finding{allowedFinding(ctx, c, check, s.Needs())}
	if !s.IsDynamic() {
		return all
	}
	statements, err := c.Statements(ctx, s)
	var told *vault.Error
	switch {
	case errors.As(err, &told) && told.Kind == vault.Denied:
		return all // to look at the role is not needed
	case err != nil:
		return append(all, vaultTrouble(check+" role", err))
	}
	for _, fault := range vault.CheckStatement(statements) {
		mount, role := s.Role()
		all = append(all, finding{check + " role", statusFail, mount + "/roles/" + role + ": " + fault, "tenloom doctor --vault-role TENANT prints a creation statement"})
	}
	return all
}

func allowedFinding(ctx context.Context, c *vault.Client, check string, needs []vault.Need) finding {
	missing, err := c.Allowed(ctx, needs)
	if err != nil {
		return vaultTrouble(check, err)
	}
	if missing != nil {
		return finding{check, statusFail, "the policy does not allow " + needs[0].Path, "add: " + strings.Join(missing, " ")}
	}
	return finding{check, statusOK, "may use " + needs[0].Path, ""}
}
