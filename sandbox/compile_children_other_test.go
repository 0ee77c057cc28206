//go:build !linux

package sandbox_test

import "testing"

// Elsewhere nobody tells which processes and descriptors are left.
func children(*testing.T) []int     { return nil }
func descriptorsNow(*testing.T) int { return 0 }
func awaitChild(*testing.T)         {}
