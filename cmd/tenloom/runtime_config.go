package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants"
)

// runtimeConfig is Spin's runtime configuration file (crates/runtime-config). Its providers of variables are used, in their order; the rest is for
// parts of Spin that tenloom does not have, or has its own settings for.
type runtimeConfig struct {
	Providers []providerBlock `toml:"variables_provider"`
	Former    []providerBlock `toml:"config_provider"` // the same by an older name

	StateDir  any `toml:"state_dir"`
	LogDir    any `toml:"log_dir"`
	Memory    any `toml:"max_instance_memory"`
	KeyValue  any `toml:"key_value_store"`
	SQLite    any `toml:"sqlite_database"`
	LLM       any `toml:"llm_compute"`
	HTTP      any `toml:"outbound_http"`
	Redis     any `toml:"outbound_redis"`
	Postgres  any `toml:"outbound_pg"`
	MySQL     any `toml:"outbound_mysql"`
	MQTT      any `toml:"outbound_mqtt"`
	ClientTLS any `toml:"client_tls"`
}

// providerBlock is one [[variables_provider]]: Spin's keys, and for Vault ours beside them.
type providerBlock struct {
	Type string `toml:"type"`

	Values map[string]string `toml:"values"` // static

	Prefix string `toml:"prefix"`      // env, and Vault
	Dotenv string `toml:"dotenv_path"` // env

	Dir string `toml:"dir"` // files: ours

	URL   string `toml:"url"` // vault
	Token string `toml:"token"`
	Mount string `toml:"mount"`

	Namespace    string `toml:"namespace"` // vault: ours
	Version      int    `toml:"version"`
	Field        string `toml:"field"`
	CA           string `toml:"ca"`
	Cert         string `toml:"cert"`
	Key          string `toml:"key"`
	Auth         string `toml:"auth"`
	AuthMount    string `toml:"auth_mount"`
	TokenFile    string `toml:"token_file"`
	RoleID       string `toml:"role_id"`
	SecretIDFile string `toml:"secret_id_file"`
	Role         string `toml:"role"`
	JWTFile      string `toml:"jwt_file"`
	Refresh      string `toml:"refresh"`
	Stale        string `toml:"stale"`

	VaultURL any `toml:"vault_url"` // azure_key_vault, so that its keys are not called unknown
	Client   any `toml:"client_id"`
	Secret   any `toml:"client_secret"`
	Tenant   any `toml:"tenant_id"`
	Host     any `toml:"authority_host"`
}

// readRuntimeConfig reads the providers of a runtime configuration file. What they begin ends with stop.
func readRuntimeConfig(path string, log *slog.Logger) (all []secrets.Provider, stop func(), err error) {
	text, err := readFileBounded(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read runtime configuration: %w", err)
	}
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var c runtimeConfig
	if err := d.Decode(&c); err != nil {
		return nil, nil, tomlFault(path, err)
	}
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for i, block := range append(c.Providers, c.Former...) {
		providers, end, err := block.open(log)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("%s: variables_provider %d: %w", path, i+1, err)
		}
		all = append(all, providers...)
		if end != nil {
			stops = append(stops, end)
		}
	}
	return all, stop, nil
}

// tomlFault says where a file is wrong. The decoder's own text would quote it, and it may hold a token.
func tomlFault(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		line, _ := unknown.Errors[0].Position()
		return fmt.Errorf("%s:%d: unknown key %q", path, line, strings.Join(unknown.Errors[0].Key(), "."))
	}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column := at.Position()
		return fmt.Errorf("%s:%d:%d: not valid TOML, or a value of another type than Spin has there", path, line, column)
	}
	return fmt.Errorf("%s: not valid TOML", path)
}

func (b *providerBlock) open(log *slog.Logger) ([]secrets.Provider, func(), error) {
	switch b.Type {
	case "static":
		return []secrets.Provider{secrets.Static(b.Values)}, nil, nil
	case "env":
		prefix := strings.TrimSuffix(secrets.SpinEnvPrefix, "_")
		if b.Prefix != "" {
			prefix = b.Prefix
		}
		all := []secrets.Provider{secrets.Env(prefix + "_")}
		if b.Dotenv != "" {
			file, err := secrets.EnvFile(b.Dotenv, prefix+"_")
			if err != nil {
				return nil, nil, err
			}
			all = append(all, file)
		}
		return all, nil, nil
	case "files":
		one, err := secrets.Folder(b.Dir)
		return []secrets.Provider{one}, nil, err
	case "vault":
		return b.vault(log)
	case "azure_key_vault":
		return nil, nil, errors.New("azure_key_vault is not offered\n  mount its secrets as files (type = \"files\", dir = ...), or use type = \"vault\" or \"env\"")
	}
	return nil, nil, fmt.Errorf("unknown type %q; there are static, env, files and vault", b.Type)
}

func (b *providerBlock) vault(log *slog.Logger) ([]secrets.Provider, func(), error) {
	c := vault.Config{Address: b.URL, Namespace: b.Namespace, Log: log, Auth: vault.Auth{
		Method: b.Auth, Mount: b.AuthMount, TokenFile: b.TokenFile, RoleID: b.RoleID, SecretIDFile: b.SecretIDFile, Role: b.Role, JWTFile: b.JWTFile,
	}}
	if b.Token != "" {
		c.Auth.Token = secrets.NewValue(b.Token)
	}
	if b.Mount == "" {
		return nil, nil, errors.New("mount is missing: the path of the KV engine, such as \"secret\"")
	}
	for _, one := range []struct {
		name, text string
		value      *time.Duration
	}{{"refresh", b.Refresh, &c.Refresh}, {"stale", b.Stale, &c.Stale}} {
		if one.text == "" {
			continue
		}
		var err error
		if *one.value, err = time.ParseDuration(one.text); err != nil {
			return nil, nil, fmt.Errorf("%s: want %s", one.name, aDuration)
		}
	}
	if err := readPEM(&c, b.CA, b.Cert, b.Key); err != nil {
		return nil, nil, err
	}
	client, err := vault.New(c)
	if err != nil {
		return nil, nil, err
	}
	path := "{{ name }}"
	if prefix := strings.Trim(b.Prefix, "/"); prefix != "" {
		path = prefix + "/" + path
	}
	kv, err := client.KV(vault.KVConfig{Mount: b.Mount, Version: b.Version, Path: path, Field: b.Field})
	if err != nil {
		return nil, nil, err
	}
	part := runVault(client)
	return []secrets.Provider{kv.For("", "")}, func() {
		if err := part.close(); err != nil {
			log.Debug("vault: the session was not given up", "cause", err)
		}
	}, nil
}

// runVault begins to use a Vault.
func runVault(client *vault.Client) *vaultPart {
	ctx, stop := context.WithCancel(context.Background())
	p := &vaultPart{client: client, credentials: map[tenants.EndpointID]*vault.Credential{}, life: ctx, stop: stop, ended: make(chan struct{}),
		log: slog.New(slog.DiscardHandler), unfit: map[tenants.EndpointID]string{}}
	go func() { // ends with close
		defer close(p.ended)
		client.Run(ctx)
	}()
	return p
}

// runtimeConfigFile is where Spin's variable names the file.
func runtimeConfigFile() string { return os.Getenv("RUNTIME_CONFIG_FILE") }
