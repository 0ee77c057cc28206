package vaulttest

import "syscall"

// dieWithParent has the kernel kill the server when the test's process is gone, and gives it and its plugins a group of their own.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
