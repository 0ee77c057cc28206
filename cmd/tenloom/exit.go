package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes: what scripts branch on. They are listed in exitHelp, and do not change.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitSignIn      = 4
	exitConflict    = 5
	exitQuota       = 6
	exitDeploy      = 7
	exitPending     = 8
	exitInterrupted = 130
)

// exitHelp stands in the root command's help.
const exitHelp = `Exit codes:
  0    done
  1    failed, or a handler failed
  2    wrong usage, invalid manifest or configuration
  3    not found
  4    sign-in or permission needed
  5    conflict with what is there
  6    quota or rate limit reached
  7    deploy failed
  8    still pending when the wait ended
  130  interrupted`

// exitError is an error with the exit code that it ends the process with. Its text is lines: what, then place and next step, indented.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// fail makes an error that ends the process with the code.
func fail(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// exitCode tells what to end the process with. ctx is the one that a signal cancels.
func exitCode(ctx context.Context, err error) int {
	var with *exitError
	var refused *problem
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &with):
		return with.code
	case errors.As(err, &refused):
		return refused.exitCode()
	}
	return exitFailed
}

// execute runs the command that the arguments name, prints its error to the command's error output and returns the exit code. It gives
// every command the same usage errors.
func execute(ctx context.Context, root *cobra.Command) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(wrongFlag)
	if root.RunE == nil && root.Run == nil {
		root.Args = cobra.ArbitraryArgs
		root.RunE = unknownCommand
	}
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	report(root.ErrOrStderr(), code, err)
	return code
}

func wrongFlag(cmd *cobra.Command, err error) error {
	advice := ""
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		advice = didYouMean("--"+unknown.GetSpecifiedName(), names)
	}
	return fail(exitUsage, "%w%s\n  %s --help lists the flags", err, advice, cmd.CommandPath())
}

func report(w io.Writer, code int, err error) {
	var with *exitError
	silent := errors.As(err, &with) && with.err == nil
	if code != exitOK && code != exitInterrupted && !silent {
		fmt.Fprintf(w, "Error: %v\n", err)
	}
}

func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return root.Help()
	}
	var names []string
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
		}
	}
	return fail(exitUsage, "unknown command %q%s\n  %s --help lists the commands", args[0], didYouMean(args[0], names), root.CommandPath())
}

// wantArgs holds the number of arguments between low and high; high below 0 means no upper bound.
func wantArgs(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return fail(exitUsage, "%s needs an argument more\n  usage: %s", cmd.CommandPath(), cmd.UseLine())
		case high >= 0 && len(args) > high:
			return fail(exitUsage, "%s does not take %q\n  usage: %s", cmd.CommandPath(), args[high], cmd.UseLine())
		}
		return nil
	}
}
