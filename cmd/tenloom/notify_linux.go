package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// monotonicMicros is the time that RELOADING=1 is told with.
func monotonicMicros() string {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return ""
	}
	return fmt.Sprintf("MONOTONIC_USEC=%d", t.Nano()/1000)
}
