package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/secrets"
)

// componentSecrets finds what component files take from elsewhere: in the environment, in the file of a secretstores.local.file, and for every
// other store among the variables that the command was given, by variableName. dir is where relative files are.
func componentSecrets(ctx context.Context, providers []secrets.Provider, dir string) func(manifest.SecretRef) (string, error) {
	environment := func(name string) (string, error) {
		if v, ok := os.LookupEnv(name); ok {
			return v, nil
		}
		return "", fmt.Errorf("the environment has no %s; set it", name)
	}
	return func(r manifest.SecretRef) (string, error) {
		switch {
		case r.Env != "":
			return environment(r.Env)
		case r.Store.Type == "secretstores.local.env":
			return environment(r.Store.Settings["secretsprefix"] + r.Key)
		case r.Store.Type == "secretstores.local.file":
			return localSecret(r, dir)
		}
		name := variableName(r.Name, r.Key)
		for _, p := range providers {
			v, ok, err := p.Lookup(ctx, name)
			if err != nil {
				return "", err
			}
			if ok {
				return v.Reveal(), nil
			}
		}
		return "", fmt.Errorf("no variable %s is given; give it with --variable, --variables-file or %s%s", name, secrets.EnvPrefix, strings.ToUpper(name))
	}
}

// maxSecretsFile bounds the file of a secretstores.local.file, in bytes.
const maxSecretsFile = 1 << 20

func localSecret(r manifest.SecretRef, dir string) (string, error) {
	path := r.Store.Settings["secretsfile"]
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if i, err := os.Stat(path); err == nil && i.Size() > maxSecretsFile {
		return "", fmt.Errorf("%s has more than %d bytes", path, maxSecretsFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var all map[string]any
	if json.Unmarshal(text, &all) != nil {
		return "", fmt.Errorf("%s is no JSON object", path) // the decoder's error could repeat a secret
	}
	separator := r.Store.Settings["nestedseparator"]
	if separator == "" {
		separator = ":"
	}
	for _, names := range [][]string{strings.Split(r.Name, separator), append(strings.Split(r.Name, separator), r.Key)} {
		var at any = all
		for _, name := range names {
			inside, _ := at.(map[string]any)
			at = inside[name]
		}
		if v, ok := at.(string); ok {
			return v, nil
		}
	}
	return "", fmt.Errorf("%s has no text %s", path, r.Name)
}

// componentFiles are those of a folder: every .yaml and .yml that speaks of Dapr.
func componentFiles(dir string) (files []manifest.ComponentFile, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if i, err := e.Info(); err != nil || i.Size() > manifest.MaxComponentFile {
			return nil, fmt.Errorf("%s has more than %d bytes", path, manifest.MaxComponentFile)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(text), "dapr.io/") {
			files = append(files, manifest.ComponentFile{Name: path, Text: text})
		}
	}
	return files, nil
}

// addComponents adds the connections of a component file. name is the one that is added, or "" for all.
func (g *globals) addComponents(cmd *cobra.Command, file, name string, variables variableFlags) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fail(exitUsage, "read the component file: %w", err)
	}
	providers, stop, err := variables.providers(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer stop()
	known := map[string]string{}
	find := componentSecrets(cmd.Context(), providers, filepath.Dir(file))
	all, err := manifest.ReadComponents([]manifest.ComponentFile{{Name: file, Text: text}}, func(r manifest.SecretRef) (string, error) {
		v, err := find(r)
		known[r.String()] = v
		return v, err
	})
	for _, w := range all.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "Warning: %v\n", w)
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	names := make([]string, len(all.Redis))
	for i, one := range all.Redis {
		names[i] = one.Connection.Name
	}
	switch {
	case len(names) == 0:
		return fail(exitUsage, "%s has no component of the type bindings.redis or pubsub.redis", file)
	case name != "" && len(names) == 1:
		names = []string{name}
	case name != "" && !slices.Contains(names, name):
		return fail(exitUsage, "%s has no component %s; it has %s", file, name, strings.Join(names, ", "))
	case name != "":
		names = []string{name}
	}
	c, err := g.client(cmd)
	if err != nil {
		return err
	}
	var failed error
	for _, name := range names {
		_, _, err := c.call(cmd.Context(), http.MethodPut, c.of("connections", name), map[string]any{"component": string(text), "secrets": known})
		if failed = errors.Join(failed, err); err == nil {
			g.hint(cmd, "Manifests name it as redis://%s, Dapr's clients as %s. What it was made of: tenloom connections show %s", name, name, name)
		}
	}
	return failed
}
