package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/examples/templates"
)

func newCommand(g *globals) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "new NAME [-t go|c]",
		Short: "Write a new application into a folder of its own",
		Long: `Write a new application into a folder of its own, with all it needs to build: nothing is fetched.

NAME is a DNS label whose words start with a letter (order-mailer). It names the folder too, which must not exist.`,
		Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := g.screen(cmd)
			if err != nil {
				return err
			}
			if kinds := templates.Kinds(); !slices.Contains(kinds, kind) {
				return fail(exitUsage, "unknown template %q%s\n  -t takes %s", kind, didYouMean(kind, kinds), strings.Join(kinds, ", "))
			}
			return newApp(g.program, s, kind, args[0])
		},
	}
	cmd.Flags().StringVarP(&kind, "template", "t", "go", "what to start from: "+strings.Join(templates.Kinds(), " or "))
	return cmd
}

func newApp(program string, s screen, kind, name string) error {
	files, err := templates.Files(kind, name) // holds the name against its rules
	if err != nil {
		return fail(exitUsage, "%w", err)
	}
	if err := writeNew(name, files); err != nil {
		return err
	}
	return printNew(s, name, kind, files, nextCommands(program, name, files))
}

// writeNew writes all files or none: into a folder beside the place, which then takes its name.
func writeNew(dir string, files map[string][]byte) error {
	if _, err := os.Lstat(dir); err == nil {
		return fail(exitConflict, "%s exists already\n  nothing was written; choose another name or remove it", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for %s: %w", dir, err)
	}
	draft, err := os.MkdirTemp(".", "."+dir+"-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(draft) // finds nothing after the rename
	if err := writeFiles(draft, files); err != nil {
		return fmt.Errorf("write the application: %w", err)
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if err := os.Rename(draft, dir); err != nil {
		return fmt.Errorf("name the folder: %w", err)
	}
	return nil
}

func writeFiles(dir string, files map[string][]byte) error {
	root, err := os.OpenRoot(dir) // keeps every path inside
	if err != nil {
		return err
	}
	defer root.Close()
	for path, content := range files {
		if err := root.MkdirAll(filepath.Dir(filepath.FromSlash(path)), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(filepath.FromSlash(path), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// nextCommands lists what to type next: the build command and channel are read from the manifest that was written.
func nextCommands(program, name string, files map[string][]byte) []string {
	var manifest struct {
		Trigger struct {
			Redis []struct{ Channel string }
		}
		Component map[string]struct {
			Build struct{ Command any }
		}
	}
	channel, build := "CHANNEL", []string(nil)
	if toml.Unmarshal(files["spin.toml"], &manifest) == nil {
		for _, trigger := range manifest.Trigger.Redis {
			channel = trigger.Channel
		}
		for _, id := range slices.Sorted(maps.Keys(manifest.Component)) {
			if command, ok := manifest.Component[id].Build.Command.(string); ok {
				build = append(build, command)
			}
		}
	}
	publish := fmt.Sprintf("%s publish %s 'hello'", program, channel)
	if program != "tenloom" { // go run works in its own module only
		var next []string
		for _, command := range build {
			next = append(next, "(cd "+name+" && "+command+")")
		}
		return append(next, program+" up "+name, publish)
	}
	next := append([]string{"cd " + name}, build...)
	return append(next, program+" up", publish)
}

func printNew(s screen, name, kind string, files map[string][]byte, next []string) error {
	paths := slices.Sorted(maps.Keys(files))
	if s.isJSON() {
		doc, err := json.Marshal(map[string]any{"name": name, "template": kind, "files": paths, "next": next})
		if err != nil {
			return err
		}
		return s.json(doc)
	}
	var rows [][]string
	for _, path := range paths {
		rows = append(rows, []string{"created", name + "/" + path, size(int64(len(files[path])))})
	}
	if s.format == "table" {
		rows = [][]string{{fmt.Sprintf("Created %s/ from template %s: %s", name, kind, count(len(paths), "file"))}}
	}
	if err := s.rows("", rows); err != nil {
		return err
	}
	for i, command := range next {
		label := "      "
		if i == 0 {
			label = "Next: "
		}
		if s.format != "table" {
			label = "next"
		}
		if err := s.rows("", [][]string{{label, command}}); err != nil {
			return err
		}
	}
	return nil
}
