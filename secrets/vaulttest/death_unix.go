//go:build unix && !linux

package vaulttest

import "syscall"

// dieWithParent gives the server and its plugins a group of their own.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
