//go:build !linux

package main

import (
	"os/exec"
	"syscall"
)

func tie(*exec.Cmd) (unlock func()) { return func() {} }

func send(cmd *exec.Cmd, sig syscall.Signal) error { return cmd.Process.Signal(sig) }
