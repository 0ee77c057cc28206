package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// ResetMethod is a way to make an instance's memory equal to its component's snapshot again.
type ResetMethod string

// The ways to reset an instance, the dearest last. All but the last need Linux and its /proc, and map the snapshot from a file of the kernel's memory.
const (
	ResetByRecords ResetMethod = "records" // ask which pages were written only where the kernel has recorded a fault of the thread, otherwise copy those known: a load and the copies
	ResetByFaults  ResetMethod = "faults"  // the same, by the thread's count of faults: a system call more
	ResetByScan    ResetMethod = "scan"    // ask with PAGEMAP_SCAN each time (Linux 6.7): microseconds, whatever the memory's size
	ResetByPagemap ResetMethod = "pagemap" // read /proc/self/pagemap each time: 8 bytes for each page of memory
	ResetByCopy    ResetMethod = "copy"    // copy all of the memory each time, from the Go heap, with nothing of any system
)

// ResetTrial is what a trial of one method showed on this machine.
type ResetTrial struct {
	Method ResetMethod
	Err    error // why it cannot be used; nil where it works
}

// ResetTrials tries every method with pages of its own, once in a process, and tells what came of it, the best method first. Containers, seccomp
// profiles and other kernels may lack any of them but the last.
func ResetTrials() []ResetTrial { return slices.Clone(resetTrials()) }

// chooseReset settles how a runtime resets: by the method that is asked for, which must work here, or by the first that does. The reason says why no
// better one is used; it is empty where there is none.
func chooseReset(want ResetMethod) (chosen ResetMethod, reason string, err error) {
	var known, lacking []string
	for _, t := range resetTrials() {
		known = append(known, string(t.Method))
		switch {
		case t.Method == want && t.Err != nil:
			return "", "", fmt.Errorf("reset by %s: %w; leave the method out and the best that works is taken", want, t.Err)
		case t.Method == want:
			return want, "asked for", nil
		case want == "" && t.Err == nil:
			return t.Method, strings.Join(lacking, "; "), nil
		case t.Err != nil:
			lacking = append(lacking, fmt.Sprintf("%s: %v", t.Method, t.Err))
		}
	}
	return "", "", fmt.Errorf("there is no reset method %q; there are %s", want, strings.Join(known, ", "))
}
