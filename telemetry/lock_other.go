//go:build !unix

package telemetry

import (
	"errors"
	"os"
	"path/filepath"
)

// ErrInUse is that another process keeps its history in a directory.
var ErrInUse = errors.New("another process keeps its own there")

// lockDir makes a directory. Here nothing keeps a second process from it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
