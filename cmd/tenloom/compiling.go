package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/sandbox"
)

// compileFlags are what compiling a module may take, and where it is done.
type compileFlags struct {
	time   time.Duration
	apart  bool
	broken error // in the environment
}

const compileTimeVariable = "TENLOOM_COMPILE_TIME"

func (f *compileFlags) add(cmd *cobra.Command) {
	limit := sandbox.DefaultCompileTime
	if given := os.Getenv(compileTimeVariable); given != "" {
		if limit, f.broken = time.ParseDuration(given); f.broken != nil {
			f.broken = fail(exitUsage, "%s: %w", compileTimeVariable, f.broken)
		}
	}
	cmd.Flags().DurationVar(&f.time, "compile-time", limit, "limit of compile time, for each module (TENLOOM_COMPILE_TIME)")
	cmd.Flags().BoolVar(&f.apart, "compile-apart", false, "compile in a process with bounded memory: for modules that you do not trust")
}

// config is the sandbox's.
func (f compileFlags) config(c sandbox.Config) (sandbox.Config, error) {
	if f.broken != nil {
		return c, f.broken
	}
	if f.time <= 0 {
		return c, fail(exitUsage, "--compile-time %v: no module compiles in that\n  want a duration such as 90s", f.time)
	}
	c.CompileTime = f.time
	if !f.apart {
		return c, nil
	}
	var err error
	c.CompileApart, err = sandbox.CompileCommand()
	return c, err
}
