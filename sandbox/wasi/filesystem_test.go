package wasi_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

const types = "filesystem/types"

// root gives the one directory that there is.
func (r *rig) root() canon.Value {
	r.t.Helper()
	all := r.must("filesystem/preopens", "get-directories").([]canon.Value)
	if len(all) != 1 || all[0].([]canon.Value)[1] != "/" {
		r.t.Fatalf("directories %v", all)
	}
	return all[0].([]canon.Value)[0]
}

func (r *rig) open(dir canon.Value, path string) canon.Value {
	r.t.Helper()
	return r.ok(types, "[method]descriptor.open-at", dir, canon.Flags(1), path, canon.Flags(0), canon.Flags(1))
}

func trees(t *testing.T) map[string]fs.FS {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "d", "e"), 0o755), os.WriteFile(filepath.Join(dir, "d", "f.txt"), []byte("0123456789"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return map[string]fs.FS{
		"memory": fstest.MapFS{"d/f.txt": {Data: []byte("0123456789"), ModTime: time.Unix(5, 6)}, "d/e/g": {}},
		"disk":   os.DirFS(dir),
	}
}

func TestFilesAreRead(t *testing.T) {
	for name, tree := range trees(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &wasi.System{Files: tree})
			root := r.root()
			d := r.open(root, "d")
			f := r.open(d, "e/../f.txt")
			if again := r.open(root, "./d//f.txt"); r.must(types, "[method]descriptor.is-same-object", f, again) != true {
				t.Error("one file by two paths is not the same")
			}
			for _, c := range []struct {
				n, offset uint64
				want      string
				end       bool
			}{{4, 0, "0123", false}, {10, 0, "0123456789", false}, {11, 0, "0123456789", true}, {1 << 40, 8, "89", true}, {1, 10, "", true}, {1, 1 << 63, "", true}, {0, 0, "", false}} {
				got := r.ok(types, "[method]descriptor.read", f, c.n, c.offset)
				if want := []canon.Value{[]byte(c.want), c.end}; !reflect.DeepEqual(got, canon.Value(want)) {
					t.Errorf("read %d at %d: %v, want %v", c.n, c.offset, got, want)
				}
			}
			stream := r.ok(types, "[method]descriptor.read-via-stream", f, uint64(3))
			if got := r.ok("io/streams", "[method]input-stream.blocking-read", stream, uint64(4)); string(got.([]byte)) != "3456" {
				t.Errorf("stream gives %q", got)
			}
			if got := r.ok("io/streams", "[method]input-stream.skip", stream, uint64(2)); got != uint64(2) {
				t.Errorf("skips %v", got)
			}
			if got := r.ok("io/streams", "[method]input-stream.read", stream, uint64(100)); string(got.([]byte)) != "9" {
				t.Errorf("stream gives %q", got)
			}
			if got := r.fails("io/streams", "[method]input-stream.read", stream, uint64(1)); got != (canon.Variant{Case: 1}) {
				t.Errorf("at the end: %v", got)
			}
			stat := r.ok(types, "[method]descriptor.stat", f).([]canon.Value)
			if stat[0] != canon.Enum(6) || stat[2] != uint64(10) {
				t.Errorf("stat %v", stat)
			}
			if at := r.ok(types, "[method]descriptor.stat-at", root, canon.Flags(0), "d/f.txt"); !reflect.DeepEqual(at, canon.Value(stat)) {
				t.Errorf("stat-at %v, stat %v", at, stat)
			}
			if a, b := r.ok(types, "[method]descriptor.metadata-hash", f), r.ok(types, "[method]descriptor.metadata-hash-at", root, canon.Flags(0), "d/f.txt"); !reflect.DeepEqual(a, b) {
				t.Errorf("hashes %v and %v", a, b)
			}
			listing := r.ok(types, "[method]descriptor.read-directory", d)
			var names []string
			for {
				e := r.ok(types, "[method]directory-entry-stream.read-directory-entry", listing).(canon.Variant)
				if e.Case == 0 {
					break
				}
				names = append(names, fmt.Sprint(e.Payload))
			}
			if got := fmt.Sprint(names); got != "[[3 e] [6 f.txt]]" {
				t.Errorf("directory %s", got)
			}
			if got := fmt.Sprint(r.ok(types, "[method]descriptor.get-type", d), r.ok(types, "[method]descriptor.get-flags", f)); got != "3 1" {
				t.Errorf("type and flags %s", got)
			}
			r.ok(types, "[method]descriptor.advise", f, uint64(0), uint64(1), canon.Enum(1))
			r.ok(types, "[method]descriptor.sync", f)
		})
	}
}

func TestFilesAreNotChanged(t *testing.T) {
	const (
		badDescriptor, exist, invalid, isDirectory, noEntry, notDirectory, notPermitted, readOnly = canon.Enum(3), canon.Enum(7), canon.Enum(12), canon.Enum(14),
			canon.Enum(20), canon.Enum(24), canon.Enum(31), canon.Enum(33)
		no     = canon.Flags(0)
		follow = canon.Flags(1)
	)
	for name, tree := range trees(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &wasi.System{Files: tree})
			root := r.root()
			f := r.open(root, "d/f.txt")
			now := canon.Variant{Case: 1}
			for _, c := range []struct {
				name string
				want canon.Enum
				args []canon.Value
			}{
				{"write", badDescriptor, list(f, []byte("x"), uint64(0))},
				{"write-via-stream", badDescriptor, list(f, uint64(0))},
				{"append-via-stream", badDescriptor, list(f)},
				{"set-size", readOnly, list(f, uint64(0))},
				{"set-times", readOnly, list(f, now, now)},
				{"set-times-at", readOnly, list(root, no, "d", now, now)},
				{"create-directory-at", readOnly, list(root, "n")},
				{"remove-directory-at", readOnly, list(root, "d")},
				{"unlink-file-at", readOnly, list(root, "d/f.txt")},
				{"link-at", readOnly, list(root, no, "d", root, "n")},
				{"rename-at", readOnly, list(root, "d", root, "n")},
				{"symlink-at", readOnly, list(root, "d", "n")},
				{"open-at", readOnly, list(root, follow, "d/f.txt", no, canon.Flags(3))},
				{"open-at", readOnly, list(root, follow, "d/f.txt", canon.Flags(8), canon.Flags(1))},
				{"open-at", readOnly, list(root, follow, "new", canon.Flags(1), canon.Flags(1))},
				{"open-at", exist, list(root, follow, "d/f.txt", canon.Flags(5), canon.Flags(1))},
				{"open-at", notDirectory, list(root, follow, "d/f.txt", canon.Flags(2), canon.Flags(1))},
				{"open-at", notDirectory, list(root, follow, "d/f.txt/", no, canon.Flags(1))},
				{"open-at", notDirectory, list(f, follow, "x", no, canon.Flags(1))},
				{"open-at", noEntry, list(root, follow, "missing", no, canon.Flags(1))},
				{"open-at", noEntry, list(root, follow, "", no, canon.Flags(1))},
				{"open-at", notPermitted, list(root, follow, "/etc/passwd", no, canon.Flags(1))},
				{"open-at", notPermitted, list(root, follow, "..", no, canon.Flags(1))},
				{"open-at", notPermitted, list(root, follow, "d/../../d", no, canon.Flags(1))},
				{"open-at", notPermitted, list(root, follow, "a\x00b", no, canon.Flags(1))},
				{"stat-at", noEntry, list(root, no, "missing")},
				{"metadata-hash-at", noEntry, list(root, no, "missing")},
				{"readlink-at", invalid, list(root, "d/f.txt")},
				{"readlink-at", noEntry, list(root, "missing")},
				{"read", isDirectory, list(root, uint64(1), uint64(0))},
				{"read-via-stream", isDirectory, list(root, uint64(0))},
				{"read-directory", notDirectory, list(f)},
			} {
				if got := r.fails(types, "[method]descriptor."+c.name, c.args...); got != c.want {
					t.Errorf("%s %v: %v, want %v", c.name, c.args[1:], got, c.want)
				}
			}
		})
	}
}

func TestWithoutFilesThereAreNoDirectories(t *testing.T) {
	if got := newRig(t, &wasi.System{}).must("filesystem/preopens", "get-directories"); len(got.([]canon.Value)) != 0 {
		t.Errorf("directories %v", got)
	}
}

// A file that vanishes fails the stream with an error that says so.
func TestErrorsOfFilesHaveCodes(t *testing.T) {
	tree := fstest.MapFS{"f": {Data: []byte("x")}}
	r := newRig(t, &wasi.System{Files: tree})
	stream := r.ok(types, "[method]descriptor.read-via-stream", r.open(r.root(), "f"), uint64(0))
	delete(tree, "f")
	failed := r.fails("io/streams", "[method]input-stream.read", stream, uint64(1)).(canon.Variant)
	if got := r.must(types, "filesystem-error-code", failed.Payload); got != hosttest.Some(canon.Enum(20)) {
		t.Errorf("code %v", got)
	}
	if got := r.must("io/error", "[method]error.to-debug-string", failed.Payload); got != "no such file or directory" {
		t.Errorf("text %v", got)
	}
}
