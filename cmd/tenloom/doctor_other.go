//go:build !linux

package main

import "runtime"

func kernel() string { return "kernel of " + runtime.GOOS }

// limitFindings has nothing to tell where instances take neither mappings nor descriptors.
func limitFindings() []finding { return nil }
