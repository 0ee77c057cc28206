package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// Refused is why a version cannot be deployed although its manifest can be read: a module, an address, a variable. Its faults are the
// manifest's kind, each with the line that names the thing, or that of its component or trigger.
type Refused struct{ Faults manifest.Faults }

func (r *Refused) Error() string { return "deploy refused:\n" + r.Faults.Error() }

func (r *Refused) Unwrap() error { return r.Faults }

// maxFaults is how many faults of a stage are kept; what comes after is counted in one last fault.
const maxFaults = 100

// refusal gathers the faults of one stage.
type refusal struct {
	m      *manifest.Manifest
	faults manifest.Faults
	more   int // beyond maxFaults
}

// add takes a fault. One that several triggers or components share counts once.
func (r *refusal) add(f manifest.Fault) {
	f.File = r.m.File
	switch {
	case slices.Contains(r.faults, f):
	case len(r.faults) == maxFaults:
		r.more++
	default:
		r.faults = append(r.faults, f)
	}
}

// fail takes an error, where it is one. One that holds faults of the manifest is taken apart: they have lines of their own.
func (r *refusal) fail(line int, path string, err error) {
	var faults manifest.Faults
	switch {
	case err == nil:
	case errors.As(err, &faults):
		for _, f := range faults {
			r.add(f)
		}
	default:
		r.add(manifest.Fault{Line: line, Path: path, Problem: err.Error(), Next: next(err)})
	}
}

// err ends the stage: nil where it has no faults and ctx goes on. What fails after ctx has ended says nothing about the application.
func (r *refusal) err(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("deploy %s: %w", r.m.Name, ctx.Err())
	}
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b manifest.Fault) int { return a.Line - b.Line })
	if r.more > 0 {
		r.faults = append(r.faults, manifest.Fault{File: r.m.File, Problem: fmt.Sprintf("%d more faults", r.more), Next: "mend these first"})
	}
	return &Refused{Faults: r.faults}
}

// next asks an error what to do about it.
func next(err error) string {
	var hint interface{ NextStep() string }
	if errors.As(err, &hint) {
		return hint.NextStep()
	}
	return ""
}

// hinted is an error with its next step.
type hinted struct {
	error
	hint string
}

func (h hinted) NextStep() string { return h.hint }
func (h hinted) Unwrap() error    { return h.error }

// hintf is an error with its next step.
func hintf(hint, format string, args ...any) error { return hinted{fmt.Errorf(format, args...), hint} }
