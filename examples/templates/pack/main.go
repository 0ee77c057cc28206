// Pack writes the SDK's source as a zip file whose bytes depend on nothing but that source: names in order, no times, no
// compression. Tests and their data stay behind.
//
//	go run ./templates/pack ../sdk templates/sdk.zip
package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack SDK-FOLDER ZIP-FILE")
		os.Exit(2)
	}
	if err := pack(os.DirFS(os.Args[1]), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(sdk fs.FS, to string) error {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	err := fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error { // in lexical order
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(path) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(path, "_test.go"), strings.HasPrefix(d.Name(), "."):
			return nil
		}
		data, err := fs.ReadFile(sdk, path)
		if err != nil {
			return err
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: path, Method: zip.Store})
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the SDK: %w", err)
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("close the archive: %w", err)
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
