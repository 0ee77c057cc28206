package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// tie makes a process end with the test's, and gives it a group of its own, so that what "go run" starts gets its signals. A parent-death
// signal is sent when the thread that forked ends: the caller's goroutine keeps its thread until it calls unlock.
func tie(cmd *exec.Cmd) (unlock func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

func send(cmd *exec.Cmd, sig syscall.Signal) error {
	if err := syscall.Kill(-cmd.Process.Pid, sig); err != syscall.ESRCH {
		return err
	}
	return nil // it has ended
}
