package sandbox

import (
	"bytes"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component"
)

// checkHeader tells a core module or a component from what else people hand over.
func checkHeader(wasm []byte) error {
	magic := []byte("\x00asm")
	switch {
	case len(wasm) == 0:
		return &CompileError{NotWasm, "the file is empty", "build the component again and give its .wasm file"}
	case !bytes.HasPrefix(wasm, magic[:min(4, len(wasm))]):
		if text := bytes.TrimLeft(wasm[:min(len(wasm), 4096)], " \t\r\n"); bytes.HasPrefix(text, []byte("(module")) || bytes.HasPrefix(text, []byte("(component")) {
			return &CompileError{NotWasm, "this is WebAssembly text (it starts with \"(module\" or \"(component\"), not a binary module",
				"translate it with wat2wasm or wasm-tools parse"}
		}
		return &CompileError{NotWasm, fmt.Sprintf("starts with %s: not a WebAssembly module", startsWith(wasm)), "give the .wasm file that the component's build writes"}
	case len(wasm) < 8:
		return &CompileError{Malformed, fmt.Sprintf("the file ends after %d bytes, inside of the header", len(wasm)), "copy or build it again"}
	case component.Is(wasm):
		return nil
	case !bytes.Equal(wasm[4:8], []byte{1, 0, 0, 0}):
		return &CompileError{NotWasm, fmt.Sprintf("WebAssembly version % x is not known", wasm[4:8]), "build a core module, version 01 00 00 00, or a component, version 0d 00 01 00"}
	}
	return nil
}

func startsWith(wasm []byte) string {
	head := wasm[:min(len(wasm), 8)]
	for _, c := range head {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("% x", head)
		}
	}
	return fmt.Sprintf("%q", head)
}
