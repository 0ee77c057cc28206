package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// System is the running system as a deployment reaches it.
type System struct {
	Policy    tenants.Policy
	MaxModule int64 // bytes of one component's module

	// Required tells which required variables nobody resolves.
	Required func(ctx context.Context) error
	// Render puts variables in place of names.
	Render func(ctx context.Context, t tenants.Template) (string, error)
	// CheckHosts holds the rendered entries of an allow list against its grammar.
	CheckHosts func(entries []string) error
	// Endpoint finds or opens the Redis server at an address and names it. It returns an error for an address that can never work; a server
	// that does not answer now is no error.
	Endpoint func(ctx context.Context, address string) (tenants.EndpointID, error)
	// Load compiles a unit, binds it to what it may do and runs its initialisation once.
	Load func(ctx context.Context, u Unit) error
	// Apply makes a version's triggers the application's active ones.
	Apply func(v *Version) error
}

// Unit is one component of a version, ready to be loaded.
type Unit struct {
	Tenant    tenants.ID
	App       tenants.AppName
	Version   tenants.VersionID
	Component *manifest.Component
	Wasm      []byte
	Files     fs.FS
	Limits    tenants.Limits
}

// Version is an application's immutable code and configuration.
type Version struct {
	ID       tenants.VersionID
	Tenant   tenants.ID
	App      tenants.AppName
	Manifest *manifest.Manifest
	Units    []Unit
	Triggers []tenants.Trigger
}

// Refused is why a version cannot be deployed although its manifest can be read: a module, an address, a variable. Its faults are the
// manifest's kind, each with the line that names the thing.
type Refused struct{ Faults manifest.Faults }

func (r *Refused) Error() string { return "deploy refused:\n" + r.Faults.Error() }

func (r *Refused) Unwrap() error { return r.Faults }

// Deploy verifies, loads and applies an application. Each stage reports all its faults; a later stage begins when the earlier has none.
func Deploy(ctx context.Context, tenant tenants.ID, m *manifest.Manifest, sys System) (*Version, error) {
	v, err := Load(ctx, tenant, m, sys)
	if err != nil {
		return nil, err
	}
	if v.Triggers, err = triggers(ctx, v, sys); err != nil {
		return nil, err
	}
	if err := sys.Apply(v); err != nil {
		return nil, fmt.Errorf("apply %s/%s: %w", tenant, v.App, err)
	}
	return v, nil
}

// Load does what Deploy does before it touches any Redis: it reads and verifies everything and loads every component.
func Load(ctx context.Context, tenant tenants.ID, m *manifest.Manifest, sys System) (*Version, error) {
	v := &Version{Tenant: tenant, App: tenants.AppName(m.Name), Manifest: m}
	if err := verify(ctx, v, sys); err != nil {
		return nil, err
	}
	if err := read(v, sys); err != nil {
		return nil, err
	}
	return v, load(ctx, v, sys)
}

// refusal gathers the faults of one stage.
type refusal struct {
	m      *manifest.Manifest
	faults manifest.Faults
}

func (r *refusal) add(line int, path, next string, err error) {
	r.faults = append(r.faults, manifest.Fault{File: r.m.File, Line: line, Path: path, Problem: err.Error(), Next: next})
}

func (r *refusal) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b manifest.Fault) int { return a.Line - b.Line })
	return &Refused{Faults: r.faults}
}

// load compiles and initialises all units, two at a time.
func load(ctx context.Context, v *Version, sys System) error {
	failed := make([]error, len(v.Units))
	var g errgroup.Group
	g.SetLimit(2)
	for i := range v.Units {
		g.Go(func() error {
			failed[i] = sys.Load(ctx, v.Units[i])
			return nil
		})
	}
	g.Wait() // the functions return nil: each fault is reported, not the first alone
	r := refusal{m: v.Manifest}
	for i, err := range failed {
		if err != nil {
			c := v.Units[i].Component
			r.add(c.Line, "component."+string(c.ID), next(err), err)
		}
	}
	return r.err()
}

// next asks an error what to do about it.
func next(err error) string {
	var hint interface{ NextStep() string }
	if errors.As(err, &hint) {
		return hint.NextStep()
	}
	return ""
}

// read takes in every module and the files beside it, and names the version after all of them and the manifest.
func read(v *Version, sys System) error {
	r := refusal{m: v.Manifest}
	sum := sha256.New()
	text, err := os.ReadFile(v.Manifest.File)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	sum.Write(text)
	for i := range v.Manifest.Components {
		c := &v.Manifest.Components[i]
		path := "component." + string(c.ID)
		wasm, err := readModule(v.Manifest.Dir, c, sys.MaxModule)
		if err != nil {
			r.add(c.Line, path+".source", next(err), err)
			continue
		}
		files, err := v.Manifest.Mount(c)
		if err != nil {
			r.add(c.Line, path+".files", "", err)
			continue
		}
		digest := sha256.Sum256(wasm)
		sum.Write(digest[:])
		v.Units = append(v.Units, Unit{
			Tenant: v.Tenant, App: v.App, Component: c, Wasm: wasm, Files: files, Limits: limits(c.Tool),
		})
	}
	v.ID = tenants.VersionID("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	for i := range v.Units {
		v.Units[i].Version = v.ID
	}
	return r.err()
}

// hinted is an error with its next step.
type hinted struct {
	error
	hint string
}

func (h hinted) NextStep() string { return h.hint }
func (h hinted) Unwrap() error    { return h.error }

func readModule(dir string, c *manifest.Component, limit int64) ([]byte, error) {
	if c.Source.Path == "" {
		return nil, hinted{errors.New("the source is remote, which this platform does not fetch"),
			"download or build the module and name its file: source = \"" + string(c.ID) + ".wasm\""}
	}
	path := c.Source.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hinted{fmt.Errorf("%s does not exist", path), buildHint(c)}
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, hinted{fmt.Errorf("%s is a directory", path), "name the .wasm file in it"}
	case info.Size() > limit:
		return nil, hinted{fmt.Errorf("%s has %d MiB, at most %d MiB are allowed", path, info.Size()>>20, limit>>20),
			"strip debug information (wasm-opt -O --strip-debug), or leave out what the handler does not need"}
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return wasm, nil
}

func buildHint(c *manifest.Component) string {
	if c.Build != nil && len(c.Build.Commands) > 0 {
		return "build it: " + c.Build.Commands[0]
	}
	return "build the component, or correct source"
}
