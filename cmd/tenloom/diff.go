package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// exitTrouble is what diff ends with where it cannot compare, as diff(1) does.
const exitTrouble = 2

func diffCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff [DIR]", Short: "Compare the application in a folder with what is deployed", Args: wantArgs(0, 1),
		Long: "Compare the application in DIR (default: this folder) with the version that takes most of its messages. Ends with 0 where they are the same, with 1\nwhere they differ, and with another code where they cannot be compared.",
		RunE: func(cmd *cobra.Command, args []string) error {
			differs, err := g.diff(cmd, cmp.Or(strings.Join(args, ""), "."))
			var with *exitError
			switch {
			case err != nil && !(errors.As(err, &with) && with.code > exitTrouble):
				return &exitError{exitTrouble, err}
			case err != nil:
				return err
			case differs:
				return &exitError{code: 1}
			}
			return nil
		},
	}
	g.appFlags(cmd)
	return cmd
}

func (g *globals) diff(cmd *cobra.Command, dir string) (differs bool, err error) {
	s, err := g.screen(cmd)
	if err != nil {
		return false, err
	}
	m, err := loadManifest(dir)
	if err != nil {
		return false, err
	}
	up, err := readUpload(m)
	if err != nil {
		return false, err
	}
	c, err := g.client(cmd)
	if err != nil {
		return false, err
	}
	c.app = cmp.Or(c.app, m.Name)
	now, ok, err := c.current(cmd.Context())
	if err != nil {
		return false, err
	}
	if !ok {
		return true, s.rows("", [][]string{{"deployed", "nothing yet"}})
	}
	main := slices.MaxFunc(now.Weights, func(a, b struct {
		Version int `json:"version"`
		Percent int `json:"percent"`
	}) int {
		return a.Percent - b.Percent
	})
	v, err := c.version(cmd.Context(), fmt.Sprint(main.Version))
	if err != nil {
		return false, err
	}
	rows := compareUpload(up, v)
	if s.isJSON() {
		l := listing{}
		for _, r := range rows {
			l.add(map[string]any{"what": r[0], "deployed": r[1], "here": r[2]})
		}
		return len(rows) > 0, l.print(s)
	}
	for i := range rows {
		rows[i] = []string{rows[i][0], short(rows[i][1]) + " -> " + short(rows[i][2])}
	}
	return len(rows) > 0, s.rows("", rows)
}

// compareUpload lists what differs: what, deployed, here.
func compareUpload(u *upload, v versionRecord) (rows [][]string) {
	if digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(u.text))); digest != v.Manifest {
		rows = append(rows, []string{"manifest", v.Manifest, digest})
	}
	ids := map[string]bool{}
	for id := range u.components {
		ids[id] = true
	}
	for id := range v.Components {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if u.components[id] != v.Components[id] {
			rows = append(rows, []string{"component " + id, v.Components[id], u.components[id]})
		}
	}
	return rows
}

// short is the beginning of a digest.
func short(digest string) string {
	if digest == "" {
		return "none"
	}
	return cut(strings.TrimPrefix(digest, "sha256:"), 15)
}
