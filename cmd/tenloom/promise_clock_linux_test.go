package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is how long the calling thread has computed. Others who use the machine do not count in it. The caller has locked its goroutine to
// the thread.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}
