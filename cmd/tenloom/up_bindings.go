package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
)

// bindings are the Redis servers that "up" offers on Dapr's paths: the main one as "default", and those of component files.
type bindings struct {
	servers *servers
	all     map[string]*component // immutable
}

type component struct {
	*server
	own    bool // the client is closed with bindings; otherwise it is servers'
	tuning *tenants.Tuning
}

// componentsFolder is where Dapr's users keep component files beside an application.
const componentsFolder = "components"

// readComponents reads the component files of a folder: the one that was named, or the application's own if it has one.
func readComponents(ctx context.Context, named, app string, providers []secrets.Provider, warn func(error)) ([]manifest.RedisComponent, error) {
	dir := named
	if dir == "" {
		dir = filepath.Join(app, componentsFolder)
	}
	files, err := componentFiles(dir)
	if named == "" && errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(exitUsage, "read component files: %w", err)
	}
	all, err := manifest.ReadComponents(files, componentSecrets(ctx, providers, dir))
	for _, w := range all.Warnings {
		warn(w)
	}
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return all.Redis, nil
}

// newBindings makes clients, which connect when they are used. A component at port 6379 of this machine is the main server, as everywhere in "up".
func newBindings(s *servers, components []manifest.RedisComponent) (*bindings, error) {
	b := &bindings{servers: s, all: map[string]*component{}}
	for _, c := range components {
		one, err := b.make(c)
		if err != nil {
			b.close()
			return nil, fail(exitUsage, "%s:%d: %s: %w", c.File, c.Line, c.Connection.Name, err)
		}
		b.all[c.Connection.Name] = one
	}
	return b, nil
}

func (b *bindings) make(c manifest.RedisComponent) (*component, error) {
	config, err := endpoint.ParseConfig(c.Connection.Address)
	if err != nil {
		return nil, err
	}
	if config.TLS != nil && c.Connection.CA != "" {
		config.TLS.CA = []byte(c.Connection.CA)
	}
	config.User, config.Password = c.Login.User, c.Login.Password
	tuned(&config, c.Connection.Tuning, c.Login.Keys)
	options, err := endpoint.New(config)
	if err != nil {
		return nil, err
	}
	for _, warning := range options.Warnings() {
		b.servers.log.Warn(warning, "component", c.Connection.Name)
	}
	if standing(options) {
		options, _, err = b.servers.resolve(c.Connection.Address)
		if err != nil {
			return nil, err
		}
	}
	return &component{own: true, tuning: c.Connection.Tuning, server: &server{id: endpointID(options), options: options, client: options.Client(nil)}}, nil
}

func (b *bindings) close() {
	for _, one := range b.all {
		if one.own {
			one.client.Close() // commands under way have ended with the API
		}
	}
}

func (b *bindings) find(ctx context.Context, name string) (*component, error) {
	if one := b.all[name]; one != nil {
		return one, nil
	}
	if name != string(tenants.DefaultEndpoint) {
		return nil, api.ErrNoBinding
	}
	main, err := b.servers.open(ctx, "")
	if err != nil {
		return nil, err
	}
	b.servers.listen(main)
	return &component{server: main}, nil
}

// bind is api.Config.Bind.
func (b *bindings) bind(ctx context.Context, _ tenants.ID, _ tenants.AppName, name string, r binding.Request) (binding.Answer, error) {
	one, err := b.find(ctx, name)
	if err != nil {
		return binding.Answer{}, err
	}
	return binding.Do(ctx, one.client, retrying(one.tuning), r)
}

// topics is api.Config.Topics.
func (b *bindings) topics(ctx context.Context, _ tenants.ID, _ tenants.AppName, name string) (api.Topics, error) {
	one, err := b.find(ctx, name)
	if err != nil {
		return api.Topics{}, err
	}
	to := api.Topics{Server: api.Server{ID: one.id, Publish: publishing(one.client)}}
	if one.tuning != nil && one.tuning.Kind == tenants.PubSubComponent {
		to.Add = func(ctx context.Context, topic string, data []byte, metadata map[string]string) error {
			return addEntry(ctx, one.client, one.tuning, topic, data, metadata)
		}
	}
	return to, nil
}
