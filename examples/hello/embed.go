// Package hello is the sample application that tenloom carries with it: its manifest and its two handlers, built.
package hello

import "embed"

// FS is the application's folder, as "tenloom up" deploys it.
//
//go:embed spin.toml *.wasm
var FS embed.FS
