//go:build !linux

package main

// monotonicMicros is for systemd, which is Linux's.
func monotonicMicros() string { return "" }
