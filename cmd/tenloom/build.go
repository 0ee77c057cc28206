package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// build runs the build commands of a manifest's components in order, as "spin up --build" does: each by the shell, in the component's
// workdir, which is relative to the manifest. The first that fails ends it. What they print goes to messages.
func build(ctx context.Context, m *manifest.Manifest, messages io.Writer) error {
	for _, c := range m.Components {
		if c.Build == nil {
			continue
		}
		for _, command := range c.Build.Commands {
			fmt.Fprintf(messages, "building %s: %s\n", c.ID, command)
			run := exec.CommandContext(ctx, "sh", "-c", command)
			run.Dir = filepath.Join(m.Dir, c.Build.Workdir)
			run.Stdout, run.Stderr = messages, messages
			if err := run.Run(); err != nil {
				return fail(exitFailed, "build component %s: %w\n  %s:%d  command = %q", c.ID, err, m.File, c.Line, command)
			}
		}
	}
	return nil
}
