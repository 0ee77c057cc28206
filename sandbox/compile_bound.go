package sandbox

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultCacheBytes is 2 GiB.
const DefaultCacheBytes int64 = 2 << 30

// bound keeps a cache's directory within a number of bytes. When something is added that brings it above, the files that were not used for
// longest go, down to nine tenths, so that not every addition reads the directory. Files of Programs that this process has open stay, so
// the directory is larger than its bound where those alone are. What another process has open may go: it has its code in memory, and compiles
// it again at its next start.
type bound struct {
	most int64
	log  *slog.Logger

	mu       sync.Mutex
	held     map[string]int // how many Programs use a file; bounded by the open Programs
	bytes    int64          // in the directory, as far as this process knows
	known    bool           // the directory was read
	grown    bool           // something was added since
	trimming bool           // somebody reads it now
}

func (b *bound) hold(files []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[string]int{}
	}
	for _, name := range files {
		b.held[name]++
	}
}

func (b *bound) release(files []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range files {
		if b.held[name]--; b.held[name] <= 0 {
			delete(b.held, name)
		}
	}
}

// grew counts n bytes that were added.
func (b *bound) grew(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += n
	b.grown = true
}

// keep trims dir where too much was added. What must stay is held before.
func (b *bound) keep(dir string) {
	b.mu.Lock()
	due := b.grown && !b.trimming && (!b.known || b.bytes > b.most)
	b.trimming = b.trimming || due
	b.mu.Unlock()
	if !due {
		return
	}
	left := b.trim(dir)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes, b.known, b.grown, b.trimming = left, true, false, false
}

// cached is one file of the directory.
type cached struct {
	name string // relative to it
	size int64
	used time.Time
}

// trim removes what is too much and returns the bytes that are left. A file that somebody begins to use meanwhile may go too: who has not read
// it yet compiles again.
func (b *bound) trim(dir string) int64 {
	files, total := survey(dir)
	if total <= b.most {
		return total
	}
	slices.SortFunc(files, func(x, y cached) int { return x.used.Compare(y.used) })
	for _, f := range files {
		if total <= b.most/10*9 {
			break
		}
		b.mu.Lock()
		inUse := b.held[f.name] > 0
		b.mu.Unlock()
		if inUse {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.name)); err == nil || os.IsNotExist(err) {
			total -= f.size
		}
	}
	if total > b.most {
		b.log.Debug("the compilation cache is larger than its bound: what it holds is in use", "cache", dir, "bytes", total, "bound", b.most)
	}
	return total
}

// abandoned is how old a temporary file must be that nobody can be writing any more.
const abandoned = time.Hour

// survey lists a cache's files and their bytes, those of other versions of wazero too, and clears what crashes have left.
func survey(dir string) (files []cached, total int64) {
	folders, _ := os.ReadDir(dir) // one that cannot be read has nothing that could be removed
	for _, folder := range folders {
		if name := folder.Name(); strings.HasPrefix(name, apartPrefix) {
			if info, err := folder.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				os.RemoveAll(filepath.Join(dir, name))
			}
			continue
		} else if name != programsDir && !strings.HasPrefix(name, "wazero-") {
			continue // not ours
		}
		all, _ := os.ReadDir(filepath.Join(dir, folder.Name()))
		for _, one := range all {
			info, err := one.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			name := filepath.Join(folder.Name(), one.Name())
			if strings.HasSuffix(name, ".tmp") && time.Since(info.ModTime()) > abandoned {
				os.Remove(filepath.Join(dir, name))
				continue
			}
			files = append(files, cached{name, info.Size(), info.ModTime()})
			total += info.Size()
		}
	}
	return files, total
}
