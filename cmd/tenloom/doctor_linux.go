package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tenloom/tenloom/sandbox"
)

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "a kernel that does not say its version"
	}
	return "kernel " + unix.ByteSliceToString(u.Release[:])
}

// Below these the number of connections or of instances is bounded by the system before tenloom's own limits.
const (
	fewDescriptors = 4096
	fewMappings    = 65530 // Linux' default
)

// limitFindings look at the limits that bound how much runs at once.
func limitFindings() []finding {
	return append([]finding{mappingsFinding()},
		rlimit("descriptors", unix.RLIMIT_NOFILE, fewDescriptors, "open files", "raise it: ulimit -n 65536, or LimitNOFILE= in the service"),
		rlimit("locked memory", unix.RLIMIT_MEMLOCK, 0, "bytes", ""),
		rlimit("address space", unix.RLIMIT_AS, 64*instanceMemory, "bytes", fmt.Sprintf("lift it: each instance reserves up to its memory cap (%s by default), which is not memory in use", size(int64(instanceMemory)))),
		rlimit("threads", unix.RLIMIT_NPROC, 512, "threads of this user", "raise it: ulimit -u 4096, or TasksMax= in the service"),
	)
}

// rlimit shows a limit of the process, and notes it where it is low.
func rlimit(check string, resource int, low uint64, unit, next string) finding {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return finding{check, statusNote, "the limit is not known: " + err.Error(), ""}
	}
	f := finding{check, statusOK, fmt.Sprintf("%s, hard limit %s", bound(l.Cur, " "+unit), bound(l.Max, "")), ""}
	if l.Cur < low {
		f.Status, f.Next = statusNote, next
	}
	return f
}

func bound(n uint64, unit string) string {
	if n == math.MaxUint64 {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10) + unit
}

// mappingsFinding tells how many instances vm.max_map_count lets there be.
func mappingsFinding() finding {
	const file = "/proc/sys/vm/max_map_count"
	text, err := os.ReadFile(file)
	if err != nil {
		return finding{"mappings", statusNote, "the limit is not known: " + err.Error(), ""}
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return finding{"mappings", statusNote, "the limit is not known: " + err.Error(), ""}
	}
	f := finding{"mappings", statusOK, fmt.Sprintf("vm.max_map_count is %d: about %d instances at once", n, n/sandbox.MappingsPerInstance), ""}
	if n < fewMappings {
		f.Status, f.Next = statusNote, fmt.Sprintf("sysctl vm.max_map_count=%d", 4*fewMappings)
	}
	return f
}
