package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a manifest, and what to do about it.
type Fault struct {
	File         string // as given to Load or Parse
	Line, Column int    // from 1, the column in characters; the column 0 where the line as a whole is meant, both where the file is
	Path         string // dotted keys from the top of the file: component.mailer.source, trigger.redis[0].channel
	Problem      string
	Next         string // the next step for the person who wrote the file
}

// Error gives the fault on one line: file:line:column: path: problem; next step.
func (f Fault) Error() string {
	var out strings.Builder
	out.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&out, ":%d", f.Line)
	}
	if f.Column > 0 {
		fmt.Fprintf(&out, ":%d", f.Column)
	}
	out.WriteString(": ")
	if f.Path != "" {
		out.WriteString(f.Path + ": ")
	}
	out.WriteString(f.Problem)
	if f.Next != "" {
		out.WriteString("; " + f.Next)
	}
	return out.String()
}

// Faults are all faults of a manifest, in the order of the file.
type Faults []Fault

// Error gives one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func (fs Faults) sort() {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
}
