package tenants

import (
	"cmp"
	"slices"
)

// maxCompared is the longest stretch, in bytes, from the first difference of two names to the last. Beyond it they are not near each other;
// so a comparison costs its square at most, however long the names are.
const maxCompared = 64

// Nearest returns the known name that a mistyped one most likely stands for; see Near.
func Nearest(name string, known []string) (string, bool) {
	if near := Near(name, known, 1); len(near) > 0 {
		return near[0], true
	}
	return "", false
}

// Near returns up to most of the known names that a mistyped one may stand for: those that are at most a third of their own bytes away, and
// one for short ones, the nearest first and equally near ones in the order of known. What counts is the bytes that were added, left out,
// replaced, or swapped with their neighbour.
func Near(name string, known []string, most int) []string {
	type candidate struct {
		name  string
		edits int
	}
	var found []candidate
	for _, k := range known {
		if n, ok := edits(name, k, max(1, len(k)/3)); ok {
			found = append(found, candidate{k, n})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
	names := make([]string, min(len(found), most))
	for i := range names {
		names[i] = found[i].name
	}
	return names
}

// edits counts what makes b of a, if that is at most limit (optimal string alignment). Three rows of the table are kept: the one being
// filled, the last, and the one before, from which a swap of neighbours begins.
func edits(a, b string, limit int) (int, bool) {
	a, b = differing(a, b)
	if max(len(a), len(b)) > maxCompared || max(len(a)-len(b), len(b)-len(a)) > limit {
		return 0, false
	}
	var rows [3][maxCompared + 1]int
	before, last, row := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
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
		if slices.Min(row) > limit {
			return 0, false // no later row has less; a swap, which skips this one, costs no less than what leads through it
		}
		before, last, row = last, row, before
	}
	return last[len(b)], last[len(b)] <= limit
}

// differing takes off what two names begin and end with in common.
func differing(a, b string) (string, string) {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}
