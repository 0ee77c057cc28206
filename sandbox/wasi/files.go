package wasi

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tenloom/tenloom/sandbox/canon"
)

// fileKind is a case of descriptor-type.
type fileKind uint8

const (
	unknown     fileKind = 0
	directory   fileKind = 3
	regularFile fileKind = 6
)

func kindOf(mode fs.FileMode) fileKind {
	switch {
	case mode.IsDir():
		return directory
	case mode.IsRegular():
		return regularFile
	}
	return unknown
}

// fileError is a case of error-code, plus one: 0 is none.
type fileError uint8

const (
	errAccess        fileError = 1 + 0
	errBadDescriptor fileError = 1 + 3
	errExist         fileError = 1 + 7
	errInvalid       fileError = 1 + 12
	errIO            fileError = 1 + 13
	errIsDirectory   fileError = 1 + 14
	errNoEntry       fileError = 1 + 20
	errNotDirectory  fileError = 1 + 24
	errNotPermitted  fileError = 1 + 31
	errReadOnly      fileError = 1 + 33
)

var fileErrors = map[fileError]string{
	errAccess: "permission denied", errExist: "file exists", errInvalid: "invalid argument", errIO: "input/output error", errIsDirectory: "is a directory",
	errNoEntry: "no such file or directory", errNotDirectory: "not a directory", errNotPermitted: "operation not permitted", errReadOnly: "read-only file system",
	errBadDescriptor: "bad file descriptor",
}

// Error makes it an error of a stream.
func (e fileError) Error() string { return fileErrors[e] }

func (e fileError) write(out *canon.Writer) {
	out.Err()
	out.Enum(int(e - 1))
}

func codeOf(err error) fileError {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrNotExist):
		return errNoEntry
	case errors.Is(err, fs.ErrPermission):
		return errAccess
	case errors.Is(err, fs.ErrInvalid):
		return errInvalid
	case strings.HasSuffix(err.Error(), "not a directory"): // no sentinel tells it
		return errNotDirectory
	}
	return errIO
}

func filesystemErrorCode(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	var code fileError
	if !errors.As(canon.Borrow[*failure](in).err, &code) {
		out.None()
		return
	}
	out.Some()
	out.Enum(int(code - 1))
}

// resolve makes a name of a path below a directory. What leads out of it is not permitted, even where it would lead back.
func (d *descriptor) resolve(p string) (string, fileError) {
	switch {
	case d.kind != directory:
		return "", errNotDirectory
	case p == "":
		return "", errNoEntry
	case p[0] == '/' || strings.ContainsRune(p, 0):
		return "", errNotPermitted
	}
	depth := 0 // below the directory
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return "", errNotPermitted
		}
	}
	return path.Join(d.name, p), 0
}

// maxRead bounds one read of a file, in bytes.
const maxRead = 1 << 20

// readAt reads at most n bytes of the file from an offset. io.EOF says that the file ends there.
func (d *descriptor) readAt(n int, offset uint64) ([]byte, error) {
	if d.kind == directory {
		return nil, errIsDirectory
	}
	f, err := d.files.Open(d.name)
	if err != nil {
		return nil, codeOf(err)
	}
	defer f.Close()
	if offset >= 1<<62 {
		return nil, io.EOF
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return readFrom(f, n, int64(offset))
	}
	info, err := f.Stat()
	if err != nil {
		return nil, codeOf(err)
	}
	b := make([]byte, min(int64(n), max(0, info.Size()-int64(offset))))
	got, err := r.ReadAt(b, int64(offset))
	return ended(b[:got], len(b) < n, err)
}

// readFrom is readAt for files that are read from their beginning alone.
func readFrom(f io.Reader, n int, offset int64) ([]byte, error) {
	if _, err := io.CopyN(io.Discard, f, offset); err != nil {
		return ended(nil, true, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(n)))
	return ended(b, len(b) < n, err)
}

// ended says io.EOF where the file ends with b, and otherwise what has failed, if b does not hold something to begin with.
func ended(b []byte, end bool, err error) ([]byte, error) {
	switch {
	case err != nil && !errors.Is(err, io.EOF) && len(b) == 0:
		return nil, codeOf(err)
	case end || errors.Is(err, io.EOF):
		return b, io.EOF
	}
	return b, nil
}

func readFile(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d, n, offset := borrowDescriptor(in), in.U64(), in.U64()
	b, err := d.readAt(int(min(n, maxRead)), offset)
	var code fileError
	if errors.As(err, &code) {
		code.write(out)
		return
	}
	out.OK()
	out.Bytes(b)
	out.Bool(err != nil)
}

// fileInput is a file as a stream.
type fileInput struct {
	of *descriptor
	at uint64
}

func (*fileInput) ready() bool { return true }

func (f *fileInput) read(n int) ([]byte, error) {
	b, err := f.of.readAt(n, f.at)
	f.at += uint64(len(b))
	return b, err
}

func readViaStream(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d, offset := borrowDescriptor(in), in.U64()
	if d.kind == directory {
		errIsDirectory.write(out)
		return
	}
	out.OK()
	out.Own(input(&fileInput{d, offset}))
}

// entries are what is left of a directory to be read.
type entries struct{ left []fs.DirEntry }

func readDirectory(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	d := borrowDescriptor(in)
	if d.kind != directory {
		errNotDirectory.write(out)
		return
	}
	all, err := fs.ReadDir(d.files, d.name)
	if err != nil {
		codeOf(err).write(out)
		return
	}
	out.OK()
	out.Own(&entries{all})
}

func readDirectoryEntry(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	e := canon.Borrow[*entries](in)
	out.OK()
	if len(e.left) == 0 {
		out.None()
		return
	}
	first := e.left[0]
	e.left = e.left[1:]
	out.Some()
	out.Enum(int(kindOf(first.Type())))
	out.String(first.Name())
}
