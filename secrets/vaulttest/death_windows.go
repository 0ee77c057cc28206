package vaulttest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
