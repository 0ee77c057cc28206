package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"
)

// Bounds of what one component may see. Beyond each, Mount is a fault.
const (
	maxFiles     = 10_000
	maxFileBytes = 256 << 20 // all files together
	maxVisited   = 200_000   // directory entries looked at on the way
	maxFileDepth = 64        // directories within one another
)

// Mount gives a component's read-only files as the guest sees them: "files" without "exclude_files". Names and sizes are settled here; contents are
// read when they are asked for, so a later edit is seen, but nothing outside of the manifest's directory is, whatever links say by then. Faults name
// the entries that are missing, lead outside, or clash.
func (m *Manifest) Mount(c *Component) (fs.FS, error) {
	t := newFileTree(m.Dir)
	if len(c.Files) == 0 {
		return t, nil
	}
	root, err := os.OpenRoot(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("mount files: %w", err)
	}
	defer root.Close()
	mt := mounter{root: root, tree: t}
	for _, glob := range c.ExcludeFiles {
		re, err := compileGlob(glob)
		if err != nil {
			return nil, fmt.Errorf("mount files: exclude_files %q: %w", glob, err)
		}
		mt.exclude = append(mt.exclude, re)
	}
	d := decoder{file: m.File}
	for i, f := range c.Files {
		if fault := mt.mount(f); fault != nil {
			d.fault(position{f.Line, f.Column}, fmt.Sprintf("%s.files[%d]", join("component", string(c.ID)), i), fault.next, "%s", fault.problem)
		}
	}
	if err := d.result(); err != nil {
		return nil, err
	}
	return t, nil
}

// mountFault is what is wrong with one entry of files.
type mountFault struct{ problem, next string }

func (f *mountFault) Error() string { return f.problem + "; " + f.next }

func problem(next, format string, args ...any) error {
	return &mountFault{fmt.Sprintf(format, args...), next}
}

// mounter fills a tree from the disk. It reaches the disk through an os.Root, which follows no link out of it.
type mounter struct {
	root    *os.Root
	tree    *fileTree
	exclude []*regexp.Regexp
	visited int
}

func (mt *mounter) mount(f Mount) *mountFault {
	var err error
	if f.Pattern != "" {
		err = mt.pattern(path.Clean(f.Pattern))
	} else {
		err = mt.placement(path.Clean(f.Source), f.Destination)
	}
	var fault *mountFault
	if err != nil && !errors.As(err, &fault) {
		fault = &mountFault{err.Error(), "give it a name that can be read below the manifest's directory, or leave it out with exclude_files"}
	}
	return fault
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// pattern mounts a file, a directory or what a glob finds, at the same path as on the disk. A directory named like this appears within itself (assets
// at /assets/assets): that is what Spin does with it, and handlers written for Spin expect it.
func (mt *mounter) pattern(name string) error {
	info, err := mt.root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return mt.walkAll(name, func(file string) string { return path.Join(name, file) })
	case err == nil:
		return mt.add(name, name, info)
	case !absent(err):
		return err
	case !looksLikeGlob(name):
		return problem("correct the name, or remove the entry", "%q does not exist and doesn't appear to be a glob pattern", clip(name))
	}
	parts, err := splitGlob(name)
	if err != nil {
		return problem("see https://docs.rs/glob for the patterns", "invalid glob pattern %q: %v", clip(name), err)
	}
	return mt.walk(".", parts, func(file string) string { return file })
}

// placement mounts a file or directory at another path.
func (mt *mounter) placement(source, destination string) error {
	at := path.Clean(strings.TrimLeft(destination, "/"))
	info, err := mt.root.Stat(source)
	switch {
	case err != nil && absent(err):
		return problem("correct the name, or remove the entry", "file or directory %q does not exist", clip(source))
	case err != nil:
		return err
	case info.IsDir():
		return mt.walkAll(source, func(file string) string { return path.Join(at, strings.TrimPrefix(file, source)) })
	case at == "." || strings.HasSuffix(destination, "/"):
		return problem("name the file as the guest shall see it", "%q is not a valid destination file name", clip(destination))
	}
	return mt.add(at, source, info)
}

// add puts one file where the guest sees it.
func (mt *mounter) add(guest, host string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return problem("leave it out with exclude_files", "%q is not a regular file", clip(host))
	}
	return mt.tree.add(guest, host, info)
}

func (mt *mounter) excluded(host string) bool {
	for _, re := range mt.exclude {
		if re.MatchString(host) {
			return true
		}
	}
	return false
}

// walkAll mounts all files below dir.
func (mt *mounter) walkAll(dir string, guest func(host string) string) error {
	all, err := splitGlob("**/*")
	if err != nil {
		return err
	}
	return mt.walk(dir, all, guest)
}

// walk mounts what a glob finds below dir. Finding nothing is fine.
func (mt *mounter) walk(dir string, parts []part, guest func(host string) string) error {
	w := globWalk{mounter: mt, guest: guest, done: map[globState]bool{}}
	info, err := mt.root.Stat(dir)
	if err != nil {
		return err
	}
	return w.below(dir, parts, []fs.FileInfo{info})
}

// globWalk is one walk. Each directory is looked at once for each rest of the pattern, however many ways lead there.
type globWalk struct {
	*mounter
	guest func(host string) string
	done  map[globState]bool // bounded by maxVisited times the pattern's components
}

type globState struct {
	dir  string
	rest int
}

// below matches the pattern's parts in dir; trail holds the directories from the top down to dir.
func (w *globWalk) below(dir string, parts []part, trail []fs.FileInfo) error {
	state := globState{dir, len(parts)}
	if w.done[state] {
		return nil
	}
	w.done[state] = true
	if parts[0].recursive {
		if len(parts) == 1 {
			return nil // a "**" at the end means directories, and only files are mounted
		}
		if err := w.below(dir, parts[1:], trail); err != nil {
			return err
		}
		return w.names(dir, func(name string) error { return w.enter(path.Join(dir, name), parts, trail, true) })
	}
	if parts[0].pattern == nil {
		return w.take(path.Join(dir, parts[0].name), parts[1:], trail)
	}
	return w.names(dir, func(name string) error {
		if !parts[0].pattern.MatchString(name) {
			return nil
		}
		return w.take(path.Join(dir, name), parts[1:], trail)
	})
}

// take mounts a file that matches the whole pattern, or goes on below a directory.
func (w *globWalk) take(name string, rest []part, trail []fs.FileInfo) error {
	if len(rest) > 0 {
		return w.enter(name, rest, trail, false)
	}
	if w.excluded(name) {
		return nil
	}
	info, err := w.root.Stat(name)
	switch {
	case err != nil && absent(err): // a link to nothing, or a plain name that is not there
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return nil // directories, sockets and the like are not files
	}
	return w.add(w.guest(name), name, info)
}

// enter goes into a directory, and ignores what is none. A link back to a directory that the walk is in ends there.
func (w *globWalk) enter(dir string, parts []part, trail []fs.FileInfo, recursive bool) error {
	if recursive {
		// Most entries are files: ask without following links first.
		info, err := w.root.Lstat(dir)
		if err != nil || !info.IsDir() && info.Mode()&fs.ModeSymlink == 0 {
			return nil
		}
	}
	if w.excluded(dir) && isLink(w.root, dir) {
		return nil // an excluded link is not asked where it leads
	}
	info, err := w.root.Stat(dir)
	switch {
	case err != nil && absent(err):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return nil
	case len(trail) > maxFileDepth:
		return problem("name a smaller part of it", "%q is deeper than %d directories", clip(dir), maxFileDepth)
	}
	for _, above := range trail {
		if os.SameFile(above, info) {
			return nil
		}
	}
	return w.below(dir, parts, append(trail[:len(trail):len(trail)], info))
}

func isLink(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// names calls read for each name in a directory, in no order.
func (w *globWalk) names(dir string, read func(name string) error) error {
	f, err := w.root.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(maxVisited + 1)
	f.Close()
	if err != nil && err != io.EOF {
		return err
	}
	if w.visited += len(names); w.visited > maxVisited {
		return problem("name a smaller part of the directory", "more than %d directory entries to look at", maxVisited)
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			continue // no guest could ask for it
		}
		if err := read(name); err != nil {
			return err
		}
	}
	return nil
}
