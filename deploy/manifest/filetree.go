package manifest

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"
)

// fileTree is the read-only file system of one component: the guest's names over files below dir.
type fileTree struct {
	dir   string
	nodes map[string]*fileNode // by the guest's path; "." is the root
	files int
	bytes int64
}

// fileNode is a file or a directory. It is its own fs.FileInfo and fs.DirEntry.
type fileNode struct {
	name     string
	host     string // path below the tree's dir; empty for directories
	size     int64
	changed  time.Time
	children []*fileNode // of a directory; nil for files
	isDir    bool
}

func newFileTree(dir string) *fileTree {
	return &fileTree{dir: dir, nodes: map[string]*fileNode{".": {name: ".", isDir: true}}}
}

// add puts a file into the tree, with the directories above it. Of two files at one place the later wins; a file and a directory at one place clash.
func (t *fileTree) add(guest, host string, info fs.FileInfo) error {
	old := t.nodes[guest]
	switch {
	case old != nil && old.isDir:
		return problem("give them different destinations", "/%s is both a file and a directory", clip(guest))
	case old != nil:
		t.bytes -= old.size
		t.files--
	default:
		parent, err := t.directory(path.Dir(guest))
		if err != nil {
			return err
		}
		old = &fileNode{name: path.Base(guest)}
		t.nodes[guest] = old
		parent.children = append(parent.children, old)
	}
	old.host, old.size, old.changed = host, info.Size(), info.ModTime()
	if t.files++; t.files > maxFiles {
		return problem("name fewer files", "more than %d files for one component", maxFiles)
	}
	if t.bytes += old.size; t.bytes > maxFileBytes {
		return problem("name fewer files", "more than %d MiB of files for one component", maxFileBytes>>20)
	}
	return nil
}

func (t *fileTree) directory(name string) (*fileNode, error) {
	if n := t.nodes[name]; n != nil {
		if !n.isDir {
			return nil, problem("give them different destinations", "/%s is both a file and a directory", clip(name))
		}
		return n, nil
	}
	parent, err := t.directory(path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := &fileNode{name: path.Base(name), isDir: true}
	parent.children = append(parent.children, n)
	t.nodes[name] = n
	return n, nil
}

// Open implements fs.FS.
func (t *fileTree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.isDir {
		return &openDir{fileNode: n, rest: n.sorted()}, nil
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)}
	}
	defer root.Close()
	f, err := root.Open(n.host)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)} // without the host's path
	}
	return &openFile{f, n}, nil
}

// Stat implements fs.StatFS.
func (t *fileTree) Stat(name string) (fs.FileInfo, error) { return t.find("stat", name) }

// ReadDir implements fs.ReadDirFS.
func (t *fileTree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.isDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return n.sorted(), nil
}

func (t *fileTree) find(op, name string) (*fileNode, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := t.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (n *fileNode) sorted() []fs.DirEntry {
	entries := make([]fs.DirEntry, len(n.children))
	for i, c := range n.children {
		entries[i] = c
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries
}

func (n *fileNode) Name() string               { return n.name }
func (n *fileNode) Size() int64                { return n.size }
func (n *fileNode) ModTime() time.Time         { return n.changed }
func (n *fileNode) IsDir() bool                { return n.isDir }
func (n *fileNode) Sys() any                   { return nil }
func (n *fileNode) Type() fs.FileMode          { return n.Mode().Type() }
func (n *fileNode) Info() (fs.FileInfo, error) { return n, nil }
func (n *fileNode) Mode() fs.FileMode {
	if n.isDir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// openFile is a file on the disk under the guest's name; it hides the ways to change it.
type openFile struct {
	f    *os.File
	node *fileNode
}

func (o *openFile) Stat() (fs.FileInfo, error) {
	info, err := o.f.Stat()
	if err != nil {
		return nil, err
	}
	return &fileNode{name: o.node.name, size: info.Size(), changed: info.ModTime()}, nil
}

func (o *openFile) Read(b []byte) (int, error)                { return o.f.Read(b) }
func (o *openFile) ReadAt(b []byte, off int64) (int, error)   { return o.f.ReadAt(b, off) }
func (o *openFile) Seek(off int64, whence int) (int64, error) { return o.f.Seek(off, whence) }
func (o *openFile) Close() error                              { return o.f.Close() }

type openDir struct {
	*fileNode
	rest []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.fileNode, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(o.rest) {
		if n > 0 && len(o.rest) == 0 {
			return nil, io.EOF
		}
		n = len(o.rest)
	}
	out := o.rest[:n:n]
	o.rest = o.rest[n:]
	return out, nil
}
