package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

func checkCommand(g *globals) *cobra.Command {
	var variables variableFlags
	var compiling compileFlags
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check an application without running it: manifest, modules, imports, limits",
		Long: `Check the application in DIR (default: this folder) as a deployment would, up to the point where Redis would be needed: the manifest, the
variables, every module's exports and imports, the allow lists and the limits. All faults are reported at once.`,
		Example: "  tenloom check\n  tenloom check ./mailer --variable key=secret",
		Args:    wantArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return check(cmd, g, dir, variables, compiling)
		},
	}
	variables.add(cmd)
	compiling.add(cmd)
	return cmd
}

func check(cmd *cobra.Command, g *globals, dir string, variables variableFlags, compiling compileFlags) error {
	out, err := g.screen(cmd)
	if err != nil {
		return err
	}
	m, err := loadManifest(dir)
	if err != nil {
		return err
	}
	for _, w := range m.Warnings {
		g.hint(cmd, "Warning: %v", w)
	}
	p, closePlatform, err := localPlatform(cmd, g, m, redisFlags{}, variables, compiling)
	if err != nil {
		return err
	}
	defer closePlatform()
	v, err := deploy.Load(cmd.Context(), tenants.Demo, m, p.system())
	if err != nil {
		return &exitError{exitDeploy, err}
	}
	for _, n := range v.Notes() {
		g.hint(cmd, "Note: %v", n)
	}
	return printChecked(out, v, p)
}

// checked is one component as "check --json" shows it.
type checked struct {
	Component string   `json:"component"`
	Bytes     int      `json:"bytes"`
	Digest    string   `json:"digest"`
	Channels  []string `json:"channels"`
	Imports   []string `json:"imports"`

	Isolation tenants.Isolation `json:"isolation"`
	Why       string            `json:"isolation_reason,omitempty"`
}

func printChecked(out screen, v *deploy.Version, p *platform) error {
	var all []checked
	for _, u := range v.Units {
		program := p.loaded[u.Component.ID].program
		one := checked{Component: string(u.Component.ID), Bytes: len(u.Wasm), Digest: program.Digest(), Imports: program.Imports(), Channels: []string{}, Isolation: u.Isolation, Why: u.Why}
		for _, t := range v.Manifest.Triggers {
			if t.Component == u.Component.ID {
				one.Channels = append(one.Channels, t.Channel.Raw)
			}
		}
		all = append(all, one)
	}
	if out.isJSON() {
		doc, err := json.Marshal(map[string]any{"app": v.App, "version": v.ID, "components": all})
		if err != nil {
			return err
		}
		return out.json(doc)
	}
	rows := [][]string{}
	for _, c := range all {
		rows = append(rows, []string{"ok", c.Component, size(int64(c.Bytes)), strings.Join(c.Channels, ","), c.Isolation.String(), strings.Join(c.Imports, ",")})
	}
	return out.rows("", rows)
}
