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

// nearest returns the known name that a mistyped one most likely stands for: the one fewest edits away, if those are at most a third of its
// letters (and one edit for short names).
func nearest(name string, known []string) (string, bool) {
	if len(name) > 64 {
		return "", false // no name of a manifest is that long, and the distance costs the product of both lengths
	}
	best, least := "", len(name)+64
	for _, k := range known {
		if len(k) > 2*len(name)+1 {
			continue // too far away to be worth the comparison
		}
		if d := edits(name, k); d < least {
			best, least = k, d
		}
	}
	return best, best != "" && least <= max(1, len(best)/3)
}

// edits counts the insertions, deletions, replacements and swaps of neighbours that make b of a.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
