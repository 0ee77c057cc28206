package rewrite_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain bounds the heap: the modules of the tests have large memories, and the collector would let garbage of many gigabytes come together
// before it looks.
func TestMain(m *testing.M) {
	debug.SetMemoryLimit(2 << 30)
	os.Exit(m.Run())
}
