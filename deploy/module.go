package deploy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// module is a component's code and its SHA-256.
type module struct {
	wasm   []byte
	digest [sha256.Size]byte
}

// modules reads the modules of an application, each path once.
type modules struct {
	dir   string
	limit int64 // bytes of one
	left  int64 // of maxModules
	known map[string]module
}

// of returns a component's module.
func (ms *modules) of(c *manifest.Component) (module, error) {
	path := c.Source.Path
	if path == "" {
		return module{}, hintf(`download or build the module and name its file: source = "`+string(c.ID)+`.wasm"`,
			"the source is remote, which this platform does not fetch")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(ms.dir, path)
	}
	if m, ok := ms.known[path]; ok {
		return m, nil
	}
	wasm, err := ms.read(path, c)
	if err != nil {
		return module{}, err
	}
	ms.left -= int64(len(wasm))
	m := module{wasm, sha256.Sum256(wasm)}
	ms.known[path] = m
	return m, nil
}

// read reads a file within the bounds. It asks for kind and size before it opens the file, since a device may do something when it is
// opened, and again of what it opened, which may be another by then. A pipe in the file's place does not make it wait.
func (ms *modules) read(path string, c *manifest.Component) ([]byte, error) {
	info, err := os.Stat(path)
	if err := ms.fits(path, c, info, err); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(path, c, err)
	}
	defer f.Close()
	info, err = f.Stat()
	if err := ms.fits(path, c, info, err); err != nil {
		return nil, err
	}
	limit := min(ms.limit, ms.left)
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(f, limit+1)) // its end may have moved since its size was asked for
	if err != nil {
		return nil, unreadable(path, c, err)
	}
	return b.Bytes(), ms.bound(path, n, "more than "+size(limit))
}

// fits tells what is wrong with a file as far as can be seen without reading it.
func (ms *modules) fits(path string, c *manifest.Component, info fs.FileInfo, err error) error {
	switch {
	case err != nil:
		return unreadable(path, c, err)
	case info.IsDir():
		return hintf("name the .wasm file in it", "%s is a directory", path)
	case !info.Mode().IsRegular():
		return hintf("name a .wasm file", "%s is not a regular file", path)
	}
	return ms.bound(path, info.Size(), size(info.Size()))
}

// bound holds n bytes against what one module, and all of them, may have.
func (ms *modules) bound(path string, n int64, has string) error {
	switch {
	case n > ms.limit:
		return hintf("strip debug information (wasm-opt -O --strip-debug), or leave out what the handler does not need",
			"%s has %s, at most %s are allowed", path, has, size(ms.limit))
	case n > ms.left:
		return hintf("deploy the components as several applications",
			"%s has %s, and all modules of an application may have %s together, of which %s are left", path, has, size(int64(maxModules)), size(ms.left))
	}
	return nil
}

// unreadable says why a file cannot be read, without repeating its path.
func unreadable(path string, c *manifest.Component, err error) error {
	var outer *fs.PathError
	if errors.As(err, &outer) {
		err = outer.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hintf(buildHint(c), "%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return hintf("make the file readable", "%s: %w", path, err)
	}
	return hintf("correct source", "%s: %w", path, err)
}

func buildHint(c *manifest.Component) string {
	if c.Build != nil && len(c.Build.Commands) > 0 {
		return "build it: " + c.Build.Commands[0]
	}
	return "build the component, or correct source"
}
