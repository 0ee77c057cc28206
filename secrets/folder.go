package secrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Folder reads one file for each variable, named as the variable is, as Kubernetes mounts a Secret; a line's end behind the text is left out. A
// file that has changed is read again at the next Lookup, which costs a look at the file each time. A file that is not there is a variable that
// this provider does not have; one that cannot be read, is larger than 1 MiB or not UTF-8 is an error.
func Folder(dir string) (Provider, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("read variables: %s is no folder", dir)
	}
	return &folder{dir: dir, files: map[string]mounted{}}, nil
}

type folder struct {
	dir   string
	mu    sync.RWMutex
	files map[string]mounted // by variable: as many as applications declare
}

// mounted is what stood in a file of that time and size.
type mounted struct {
	info  fs.FileInfo
	since time.Time
	value Value
}

// settle is how old a file must be for its time to tell it from the next version: file systems keep times in steps.
const settle = 20 * time.Millisecond

func (f *folder) Lookup(_ context.Context, name string) (Value, bool, error) {
	path := filepath.Join(f.dir, name) // a variable's name has no dots and slashes
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return Value{}, false, nil
	}
	if err != nil {
		return Value{}, false, err
	}
	f.mu.RLock()
	known, ok := f.files[name]
	f.mu.RUnlock()
	if ok && os.SameFile(known.info, info) && known.info.ModTime().Equal(info.ModTime()) && known.info.Size() == info.Size() && known.since.Sub(info.ModTime()) > settle {
		return known.value, true, nil
	}
	since := time.Now()
	text, err := readText(path)
	if err != nil {
		return Value{}, false, err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	known = mounted{info, since, NewValue(text)}
	f.mu.Lock()
	f.files[name] = known
	f.mu.Unlock()
	return known.value, true, nil
}

func (f *folder) String() string { return f.dir }
