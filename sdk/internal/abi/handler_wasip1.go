package abi

import (
	"strings"
	"unsafe"
)

// result is what the host reads after the call: 00 is success, 01 01 an error. A package variable, because it must stay
// where it is after the function has returned.
var result [2]byte

//go:wasmexport handle-redis-message
func handleRedisMessage(p, n uint32) uint32 {
	result = [2]byte{1, 1}
	if err := run(take(p, n)); err != nil {
		print(line("handler: " + err.Error())) // one write to stderr, without package os
	} else {
		result = [2]byte{0, 0}
	}
	clear(held)
	return address(unsafe.Pointer(&result))
}

// line makes text one line of output: the host logs by lines, and one failure should be one of them.
func line(text string) string {
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(text) + "\n"
}
