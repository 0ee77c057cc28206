package wasi

import (
	"hash/fnv"
	"io"
	"io/fs"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

var filesystemTypes = map[string]string{
	"datetime":            datetime,
	"descriptor-type":     "enum<unknown, block-device, character-device, directory, fifo, symbolic-link, regular-file, socket>",
	"descriptor-flags":    "flags<read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, mutate-directory>",
	"path-flags":          "flags<symlink-follow>",
	"open-flags":          "flags<create, directory, exclusive, truncate>",
	"descriptor-stat":     "record<type: descriptor-type, link-count: u64, size: u64, data-access-timestamp: option<datetime>, data-modification-timestamp: option<datetime>, status-change-timestamp: option<datetime>>",
	"new-timestamp":       "variant<no-change, now, timestamp(datetime)>",
	"directory-entry":     "record<type: descriptor-type, name: string>",
	"advice":              "enum<normal, sequential, random, will-need, dont-need, no-reuse>",
	"metadata-hash-value": "record<lower: u64, upper: u64>",
	"error-code": "enum<access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large, illegal-byte-sequence, in-progress, " +
		"interrupted, invalid, io, is-directory, loop, too-many-links, message-size, name-too-long, no-device, no-entry, no-lock, insufficient-memory, " +
		"insufficient-space, not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device, overflow, not-permitted, pipe, read-only, " +
		"invalid-seek, text-file-busy, cross-device>",
}

// filesystemInterfaces are wasi:filesystem. What would change a file answers read-only, what writes to an open one bad-descriptor.
func filesystemInterfaces() []host.Interface {
	i := host.Interface{
		Name: "wasi:filesystem/types" + version, Types: filesystemTypes, Funcs: map[string]host.Func{},
		Resources: drops("descriptor", "directory-entry-stream", "input-stream", "output-stream", "error"),
	}
	of := func(name, t string, call canon.HostFunc) {
		i.Funcs["[method]descriptor."+name] = host.Func{Type: "func(self: borrow<descriptor>" + t + ", error-code>", Call: call}
	}
	of("read-via-stream", ", offset: u64) -> result<own<input-stream>", readViaStream)
	of("write-via-stream", ", offset: u64) -> result<own<output-stream>", refuse(errBadDescriptor))
	of("append-via-stream", ") -> result<own<output-stream>", refuse(errBadDescriptor))
	of("advise", ", offset: u64, length: u64, advice: advice) -> result<_", nothing)
	of("sync-data", ") -> result<_", nothing)
	of("get-flags", ") -> result<descriptor-flags", getFlags)
	of("get-type", ") -> result<descriptor-type", getType)
	of("set-size", ", size: u64) -> result<_", refuse(errReadOnly))
	of("set-times", ", data-access-timestamp: new-timestamp, data-modification-timestamp: new-timestamp) -> result<_", refuse(errReadOnly))
	of("read", ", length: u64, offset: u64) -> result<tuple<list<u8>, bool>", readFile)
	of("write", ", buffer: list<u8>, offset: u64) -> result<u64", refuse(errBadDescriptor))
	of("read-directory", ") -> result<own<directory-entry-stream>", readDirectory)
	of("sync", ") -> result<_", nothing)
	of("create-directory-at", ", path: string) -> result<_", refuse(errReadOnly))
	of("stat", ") -> result<descriptor-stat", stat)
	of("stat-at", ", path-flags: path-flags, path: string) -> result<descriptor-stat", statAt)
	of("set-times-at", ", path-flags: path-flags, path: string, data-access-timestamp: new-timestamp, data-modification-timestamp: new-timestamp) -> result<_", refuse(errReadOnly))
	of("link-at", ", old-path-flags: path-flags, old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_", refuse(errReadOnly))
	of("open-at", ", path-flags: path-flags, path: string, open-flags: open-flags, flags: descriptor-flags) -> result<own<descriptor>", openAt)
	of("readlink-at", ", path: string) -> result<string", readlinkAt)
	of("remove-directory-at", ", path: string) -> result<_", refuse(errReadOnly))
	of("rename-at", ", old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_", refuse(errReadOnly))
	of("symlink-at", ", old-path: string, new-path: string) -> result<_", refuse(errReadOnly))
	of("unlink-file-at", ", path: string) -> result<_", refuse(errReadOnly))
	of("metadata-hash", ") -> result<metadata-hash-value", metadataHash)
	of("metadata-hash-at", ", path-flags: path-flags, path: string) -> result<metadata-hash-value", metadataHashAt)
	i.Funcs["[method]descriptor.is-same-object"] = host.Func{Type: "func(self: borrow<descriptor>, other: borrow<descriptor>) -> bool", Call: isSameObject}
	i.Funcs["[method]directory-entry-stream.read-directory-entry"] = host.Func{
		Type: "func(self: borrow<directory-entry-stream>) -> result<option<directory-entry>, error-code>", Call: readDirectoryEntry,
	}
	i.Funcs["filesystem-error-code"] = host.Func{Type: "func(err: borrow<error>) -> option<error-code>", Call: filesystemErrorCode}
	return []host.Interface{i, {
		Name: "wasi:filesystem/preopens" + version, Resources: drops("descriptor"),
		Funcs: map[string]host.Func{"get-directories": {Type: "func() -> list<tuple<own<descriptor>, string>>", Call: getDirectories}},
	}}
}

// descriptor is a file or directory by its name. It holds nothing open: whatever reads opens the file for itself.
type descriptor struct {
	files fs.FS
	name  string // as fs.ValidPath has it
	kind  fileKind
}

func borrowDescriptor(in *canon.Reader) *descriptor { return canon.Borrow[*descriptor](in) }

// refuse answers an error whatever is asked.
func refuse(code fileError) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		in.Skip()
		code.write(out)
	}
}

// nothing answers that all is well.
func nothing(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	in.Skip()
	out.OK()
}

func getDirectories(c *canon.Call, _ *canon.Reader, out *canon.Writer) {
	files := system(c).Files
	if files == nil {
		out.List(0)
		return
	}
	out.List(1)
	out.Own(&descriptor{files: files, name: ".", kind: directory})
	out.String("/")
}

func getFlags(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	in.Skip()
	out.OK()
	out.Flags(flagRead)
}

func getType(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	out.OK()
	out.Enum(int(d.kind))
}

// Bits of descriptor-flags and of open-flags.
const (
	flagRead  = 1 << 0
	flagWrite = 1 << 1

	openCreate    = 1 << 0
	openDirectory = 1 << 1
	openExclusive = 1 << 2
	openTruncate  = 1 << 3
)

func openAt(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	in.Flags()
	path, how, flags := in.String(), in.Flags(), in.Flags()
	opened, code := d.open(path, how, flags)
	if code != 0 {
		code.write(out)
		return
	}
	out.OK()
	out.Own(opened)
}

func (d *descriptor) open(path string, how, flags uint32) (*descriptor, fileError) {
	name, code := d.resolve(path)
	if code != 0 {
		return nil, code
	}
	info, err := fs.Stat(d.files, name)
	switch {
	case err != nil && how&openCreate != 0:
		return nil, errReadOnly
	case err != nil:
		return nil, codeOf(err)
	case how&openCreate != 0 && how&openExclusive != 0:
		return nil, errExist
	case flags&flagWrite != 0 || how&openTruncate != 0:
		return nil, errReadOnly
	}
	kind := kindOf(info.Mode())
	if kind != directory && (how&openDirectory != 0 || path[len(path)-1] == '/') {
		return nil, errNotDirectory
	}
	return &descriptor{files: d.files, name: name, kind: kind}, 0
}

func stat(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	d.writeStat(out, d.name, 0)
}

func statAt(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	in.Flags()
	name, code := d.resolve(in.String())
	d.writeStat(out, name, code)
}

func (d *descriptor) writeStat(out *canon.Writer, name string, code fileError) {
	info, code := d.info(name, code)
	if code != 0 {
		code.write(out)
		return
	}
	out.OK()
	out.Enum(int(kindOf(info.Mode())))
	out.U64(1)
	out.U64(uint64(max(0, info.Size())))
	out.None()
	if info.ModTime().IsZero() {
		out.None()
	} else {
		out.Some()
		writeTime(out, info.ModTime())
	}
	out.None()
}

// info looks a file up, unless code says that its name was no good.
func (d *descriptor) info(name string, code fileError) (fs.FileInfo, fileError) {
	if code != 0 {
		return nil, code
	}
	info, err := fs.Stat(d.files, name)
	return info, codeOf(err)
}

// readlinkAt finds no links, since there are none: a name that is there is something else.
func readlinkAt(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	name, code := d.resolve(in.String())
	if _, code = d.info(name, code); code == 0 {
		code = errInvalid
	}
	code.write(out)
}

func isSameObject(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	one := borrowDescriptor(in)
	other := borrowDescriptor(in)
	out.Bool(one.name == other.name)
}

func metadataHash(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	d.writeHash(out, d.name, 0)
}

func metadataHashAt(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	in.Flags()
	name, code := d.resolve(in.String())
	d.writeHash(out, name, code)
}

func (d *descriptor) writeHash(out *canon.Writer, name string, code fileError) {
	info, code := d.info(name, code)
	if code != 0 {
		code.write(out)
		return
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	out.OK()
	out.U64(h.Sum64())
	out.U64(uint64(info.Size()) ^ uint64(info.ModTime().UnixNano()))
}
