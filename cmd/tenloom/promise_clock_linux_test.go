package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is how long the calling thread has computed. Others who use the machine do not count in it. The caller has locked its goroutine to
// the thread.
func cpuTime() time.Duration { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

// processTime is how long all threads of the process have computed.
func processTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}
