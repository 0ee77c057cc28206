package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Stream is where a guest printed to.
type Stream uint8

const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// Line is one line of guest output, or of the platform's own remarks to the tenant.
type Line struct {
	At        time.Time
	Tenant    tenants.ID
	App       tenants.AppName
	Component tenants.ComponentID
	Version   tenants.VersionID    // whose handler printed it; "" where that is not known
	Invoked   tenants.InvocationID // during which it was printed; zero where during none
	Trace     Trace                // of that
	Stream    Stream
	Text      []byte // valid during the call alone
}

// Folder writes each component's output to <component>_stdout.txt and <component>_stderr.txt in one directory, as Spin does in .spin/logs.
// It appends; files are not rotated.
type Folder struct {
	dir  string
	echo io.Writer // a copy for the terminal, or nil

	mu    sync.Mutex
	files map[string]*os.File // two for each component of the application; nil when closed
	err   error               // the first failure; later lines are dropped, and Close says so
}

// OpenFolder makes the directory. echo, where not nil, gets every line with its component's name before it.
func OpenFolder(dir string, echo io.Writer) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open log folder: %w", err)
	}
	return &Folder{dir: dir, echo: echo, files: map[string]*os.File{}}, nil
}

// Touch creates both files of a component, so that a reader finds them before the first line.
func (f *Folder) Touch(component tenants.ComponentID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range []Stream{Stdout, Stderr} {
		if _, err := f.file(component, s); err != nil {
			return err
		}
	}
	return nil
}

// Write appends one line. Its bytes are the guest's own: the file gets them as they are, the echo with control characters replaced.
func (f *Folder) Write(l Line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := f.file(l.Component, l.Stream)
	if err == nil {
		line := make([]byte, 0, len(l.Text)+1)
		_, err = out.Write(append(append(line, l.Text...), '\n'))
	}
	if err != nil && f.err == nil {
		f.err = err
	}
	if f.echo != nil {
		fmt.Fprintf(f.echo, "%s | %s\n", l.Component, printable(l.Text))
	}
}

func (f *Folder) file(component tenants.ComponentID, s Stream) (*os.File, error) {
	name := fmt.Sprintf("%s_%s.txt", component, s)
	if out := f.files[name]; out != nil {
		return out, nil
	}
	if f.files == nil {
		return nil, fmt.Errorf("open log file: %w", os.ErrClosed)
	}
	out, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log file: %w", err)
	}
	f.files[name] = out
	return out, nil
}

// Close closes all files and tells of the first line that could not be written. Lines that come later are not kept.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	for _, out := range f.files {
		err = errors.Join(err, out.Close())
	}
	f.files, f.err = nil, nil
	return err
}

// printable makes a guest's bytes safe for a terminal: control characters, which could move the cursor or change colours, become '?'.
func printable(b []byte) string {
	out := make([]rune, 0, len(b))
	for _, r := range string(b) {
		if r < ' ' && r != '\t' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || '\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069' {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}
