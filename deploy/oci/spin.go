package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"

	"github.com/tenloom/tenloom/tenants"
)

// locked is what Spin keeps of an application as the configuration of its image, as far as it concerns Redis triggers.
type locked struct {
	Metadata struct {
		Name        string                         `json:"name"`
		Version     string                         `json:"version"`
		Description string                         `json:"description"`
		Trigger     struct{ Type, Address string } `json:"trigger"` // of older images
		Triggers    map[string]struct {
			Address string `json:"address"`
		} `json:"triggers"`
	} `json:"metadata"`
	Variables map[string]struct {
		Description string  `json:"description"`
		Default     *string `json:"default"`
		Secret      bool    `json:"secret"`
	} `json:"variables"`
	Triggers []struct {
		ID     string `json:"id"`
		Type   string `json:"trigger_type"`
		Config struct {
			Component string `json:"component"`
			Channel   string `json:"channel"`
			Address   string `json:"address"`
		} `json:"trigger_config"`
	} `json:"triggers"`
	Components []lockedComponent `json:"components"`
}

type lockedComponent struct {
	ID       string `json:"id"`
	Metadata struct {
		Description string   `json:"description"`
		Hosts       []string `json:"allowed_outbound_hosts"`
		Stores      []string `json:"key_value_stores"`
		Databases   []string `json:"databases"`
		Models      []string `json:"ai_models"`
	} `json:"metadata"`
	Source       content           `json:"source"`
	Env          map[string]string `json:"env"`
	Config       map[string]string `json:"config"`
	Dependencies map[string]any    `json:"dependencies"`
	Files        []struct {
		content
		Path string `json:"path"`
	} `json:"files"`
}

// content is a layer, or a few bytes themselves.
type content struct {
	Inline []byte `json:"inline"` // base 64 in JSON
	Digest string `json:"digest"`
}

// spin reads the layout of a whole application.
func (f *fetch) spin(ctx context.Context, m ocispec.Manifest) (App, error) {
	for _, l := range m.Layers {
		if l.MediaType == spinArchive {
			return App{}, problem("give it fewer files, or deploy it from its folder", "its files are in an archive, which is not opened here")
		}
	}
	var l locked
	if err := f.document(ctx, m.Config, f.from.Blobs(), &l); err != nil {
		return App{}, err
	}
	app := App{Components: map[tenants.ComponentID]string{}, Files: map[tenants.ComponentID]map[string]string{}}
	for _, c := range l.Components {
		id := tenants.ComponentID(c.ID)
		if len(c.Dependencies) > 0 {
			return App{}, problem("compose the component before pushing it (wac plug)", "component %.80q has dependencies that are not composed", c.ID)
		}
		if err := f.store(ctx, c.Source.Digest, spinWasm, wasm); err != nil {
			return App{}, err
		}
		app.Components[id] = c.Source.Digest
		files, err := f.files(ctx, c)
		if err != nil {
			return App{}, err
		}
		if len(files) > 0 {
			app.Files[id] = files
		}
	}
	text, err := l.manifest()
	app.Manifest = text
	return app, err
}

func (f *fetch) files(ctx context.Context, c lockedComponent) (map[string]string, error) {
	files := map[string]string{}
	for _, one := range c.Files {
		path := strings.TrimPrefix(one.Path, "/")
		digest := one.Digest
		if len(one.Inline) > 0 || digest == "" {
			digest = fmt.Sprintf("sha256:%x", sha256.Sum256(one.Inline))
			if _, err := f.puller.Put(ctx, digest, bytes.NewReader(one.Inline), int64(len(one.Inline))); err != nil {
				return nil, fmt.Errorf("store %s: %w", path, err)
			}
		} else if err := f.store(ctx, digest, spinData); err != nil {
			return nil, err
		}
		files[path] = digest
	}
	return files, nil
}

// manifest writes the spin.toml that the configuration says the same as. What Spin does not keep, such as tables of other tools, is lost.
func (l locked) manifest() (string, error) {
	type table = map[string]any
	application := table{"name": l.Metadata.Name}
	if l.Metadata.Version != "" {
		application["version"] = l.Metadata.Version
	}
	address := l.Metadata.Triggers["redis"].Address
	if address == "" && l.Metadata.Trigger.Type == "redis" {
		address = l.Metadata.Trigger.Address
	}
	if address != "" {
		application["trigger"] = table{"redis": table{"address": address}}
	}
	all := table{"spin_manifest_version": 2, "application": application}
	variables := table{}
	for name, v := range l.Variables {
		one := table{"secret": v.Secret}
		if v.Default != nil {
			one["default"] = *v.Default
		} else {
			one["required"] = true
		}
		variables[name] = one
	}
	if len(variables) > 0 {
		all["variables"] = variables
	}
	triggers := map[string][]table{}
	for _, t := range l.Triggers {
		one := table{"id": t.ID, "component": t.Config.Component}
		if t.Type == "redis" {
			one["channel"] = t.Config.Channel
		}
		if t.Config.Address != "" {
			one["address"] = t.Config.Address
		}
		triggers[t.Type] = append(triggers[t.Type], one)
	}
	all["trigger"] = triggers
	components := table{}
	for _, c := range l.Components {
		components[c.ID] = c.table()
	}
	all["component"] = components
	b, err := toml.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	return string(b), nil
}

func (c lockedComponent) table() map[string]any {
	one := map[string]any{"source": c.ID + ".wasm", "allowed_outbound_hosts": c.Metadata.Hosts}
	if c.Metadata.Hosts == nil {
		one["allowed_outbound_hosts"] = []string{}
	}
	for key, list := range map[string][]string{"key_value_stores": c.Metadata.Stores, "sqlite_databases": c.Metadata.Databases, "ai_models": c.Metadata.Models} {
		if len(list) > 0 {
			one[key] = list
		}
	}
	for key, m := range map[string]map[string]string{"environment": c.Env, "variables": c.Config} {
		if len(m) > 0 {
			one[key] = m
		}
	}
	if len(c.Files) > 0 {
		one["files"] = []any{map[string]any{"source": "files", "destination": "/"}}
	}
	return one
}
