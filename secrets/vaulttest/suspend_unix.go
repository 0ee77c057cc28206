//go:build unix

package vaulttest

import "syscall"

// Suspend stops the process where it is: connections are accepted and nothing is answered, until Continue.
func (s *Server) Suspend() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue ends Suspend.
func (s *Server) Continue() { s.cmd.Process.Signal(syscall.SIGCONT) }

// reap ends what the process has started and left: a plugin outlives a server that is told to end while it starts one.
func (s *Server) reap() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
