package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

func line(component tenants.ComponentID, s telemetry.Stream, text string) telemetry.Line {
	return telemetry.Line{Component: component, Stream: s, Text: []byte(text)}
}

func open(t *testing.T, dir string, echo io.Writer) *telemetry.Folder {
	t.Helper()
	f, err := telemetry.OpenFolder(dir, echo)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(b)
	}
	return found
}

// TestFolder: the files are where Spin's users look for them, and hold the guest's bytes as they were.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".spin", "logs")
	for range 2 { // the second time it appends
		f := open(t, dir, nil)
		if err := f.Touch("quiet"); err != nil {
			t.Fatal(err)
		}
		f.Write(line("mailer", telemetry.Stdout, "one"))
		f.Write(line("mailer", telemetry.Stderr, "\x1b[31mred\xff"))
		f.Write(line("mailer", telemetry.Stdout, ""))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"quiet_stdout.txt": "", "quiet_stderr.txt": "",
		"mailer_stdout.txt": "one\n\none\n\n", "mailer_stderr.txt": "\x1b[31mred\xff\n\x1b[31mred\xff\n",
	}
	got := read(t, dir)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s holds %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("files %v", got)
	}
}

// TestEcho: a guest cannot move the operator's cursor, change colours, write lines of its own or turn the text around.
func TestEcho(t *testing.T) {
	var echo bytes.Buffer
	f := open(t, t.TempDir(), &echo)
	for _, text := range []string{
		"plain, tab\tand café 日本", "\x1b[2Jgone", "a\rb\x07", "two\nlines", "del\x7f \u009b31m", "\u202etxt.exe \u2066x\u2069", "line\u2028sep", "bad \xff\xfe",
	} {
		f.Write(line("mailer", telemetry.Stdout, text))
	}
	want := []string{
		"mailer | plain, tab\tand café 日本", "mailer | ?[2Jgone", "mailer | a?b?", "mailer | two?lines", "mailer | del? ?31m",
		"mailer | ?txt.exe ?x?", "mailer | line?sep", "mailer | bad \uFFFD\uFFFD", "",
	}
	if got := strings.Split(echo.String(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFolderHammer: lines of many writers are whole, and none is lost.
func TestFolderHammer(t *testing.T) {
	const writers, each = 8, 200
	dir := t.TempDir()
	var echo bytes.Buffer
	f := open(t, dir, &echo)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				f.Write(line("mailer", telemetry.Stream(1+w%2), fmt.Sprintf("%d %d", w, i)))
			}
		})
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files := read(t, dir)
	lines := strings.Split(files["mailer_stdout.txt"]+files["mailer_stderr.txt"], "\n")
	next := [writers]int{}
	for _, l := range lines[:len(lines)-1] {
		if l == "" {
			continue
		}
		var w, i int
		if n, err := fmt.Sscanf(l, "%d %d", &w, &i); n != 2 || next[w] != i {
			t.Fatalf("line %q, want the %dth of its writer: %v", l, next[w], err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
	if n := strings.Count(echo.String(), "\n"); n != writers*each {
		t.Errorf("%d lines echoed", n)
	}
}

// TestFolderFails: what goes wrong is said once, by Close, and what comes after it opens nothing.
func TestFolderFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.OpenFolder(filepath.Join(dir, "file"), nil); err == nil || !strings.HasPrefix(err.Error(), "open log folder: ") {
		t.Errorf("over a file: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken_stdout.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir, nil)
	if err := f.Touch("taken"); err == nil || !strings.HasPrefix(err.Error(), "open log file: ") {
		t.Errorf("Touch over a directory: %v", err)
	}
	f.Write(line("taken", telemetry.Stderr, "kept"))
	f.Write(line("taken", telemetry.Stdout, "lost"))
	f.Write(line("other", telemetry.Stdout, "kept"))
	var path *fs.PathError
	if err := f.Close(); !errors.As(err, &path) || filepath.Base(path.Path) != "taken_stdout.txt" {
		t.Errorf("Close: %v", err)
	}
	f.Write(line("late", telemetry.Stdout, "x"))
	if err := f.Touch("late"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Touch after Close: %v", err)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "other_stdout.txt")); string(kept) != "kept\n" {
		t.Errorf("%q %v", kept, err)
	}
	if entries, err := os.ReadDir(dir); len(entries) != 4 { // file, taken's stdout and stderr, other's stdout
		t.Errorf("%v %v", entries, err)
	}
}
