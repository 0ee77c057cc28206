package wasi_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// What components of real tool chains import is offered, with the types that they expect.
func TestComponentsFindWhatTheyImport(t *testing.T) {
	offered, err := host.New(append(wasi.Interfaces(), spin.Interfaces()...)...)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../testdata/components/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	imports := 0
	for _, file := range files {
		wasm, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !component.Is(wasm) {
			continue
		}
		c, err := component.Decode(wasm, component.Accept{})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		imports += len(c.Imports())
		for _, m := range c.Missing(offered.Offers()) {
			t.Errorf("%s: %s %s: %s", file, m.Interface, m.Name, m.Why)
		}
	}
	if imports == 0 {
		t.Error("no component imports anything")
	}
}
