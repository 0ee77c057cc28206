package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tenloom/tenloom/examples/hello"
)

// writeSample puts the application that travels inside the binary into a directory, where it runs like any other.
func writeSample(dir string) error {
	return fs.WalkDir(hello.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(hello.FS, name)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write sample: %w", err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("write sample: %w", err)
		}
		return nil
	})
}
