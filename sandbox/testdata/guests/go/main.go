// A guest in plain Go: shape A through -buildmode=c-shared, whose runtime starts in _initialize.
package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"
)

var (
	held    = map[uintptr][]uint64{} // what the host asked for; nothing else makes it reachable
	result  [2]byte
	started = os.Getenv("GREETING")
)

//go:wasmexport canonical_abi_realloc
func realloc(_, _, _, size uint32) uint32 {
	b := make([]uint64, (size+7)/8+1)
	p := uintptr(unsafe.Pointer(&b[0]))
	held[p] = b
	return uint32(p)
}

//go:wasmexport handle-redis-message
func handle(ptr, size uint32) uint32 {
	msg := ""
	if size > 0 {
		msg = string(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), size))
	}
	result = [2]byte{}
	switch msg {
	case "panic":
		panic("at the guest's own wish")
	case "exit":
		os.Exit(4)
	case "sleep":
		time.Sleep(time.Hour)
	case "eat":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "fail":
		result = [2]byte{1, 1}
	}
	fmt.Println(started, msg)
	return uint32(uintptr(unsafe.Pointer(&result)))
}

func main() {}
