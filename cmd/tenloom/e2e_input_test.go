package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// Each file of testdata/e2e/input is: the command line, of which $TAKEN is an address that somebody listens on; the application's manifest, if
// it has one; a line of =; what the command printed on stderr, and its exit code. "up" ends like this against either Redis and leaves nothing
// behind. So does "check", unless the file says that only up can tell.
func TestBadInput(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	paths, err := filepath.Glob("testdata/e2e/input/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no files", err)
	}
	t.Run("all", func(t *testing.T) { // ends when all have
		for _, path := range paths {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
				t.Parallel()
				input, want, ok := strings.Cut(string(readFile(t, path)), "=====\n")
				if !ok {
					t.Fatal("no line of =")
				}
				line, manifest, _ := strings.Cut(input, "\n")
				line, onlyUp := strings.CutSuffix(line, " # only up")
				args := strings.Fields(strings.ReplaceAll(line, "$TAKEN", taken.Addr().String()))
				dir := faultyApp(t, manifest)
				got := refusal(t, dir, append(args, "--redis", server.URL))
				if *update {
					writeFile(t, path, []byte(input+"=====\n"+got))
					return
				}
				expect(t, line+" with --redis", got, want)
				if !slices.Contains(args, "--redis") {
					expect(t, line, refusal(t, dir, args), want)
				}
				if !onlyUp {
					expect(t, "check", refusal(t, dir, append([]string{"check"}, args[1:]...)), want)
				}
			})
		}
	})
	client := server.Client()
	channels, err := client.PubSubChannels(t.Context(), "*").Result()
	patterns, err2 := client.PubSubNumPat(t.Context()).Result()
	if len(channels) != 0 || patterns != 0 || err != nil || err2 != nil {
		t.Errorf("left behind on the server: %v and %d patterns, %v %v", channels, patterns, err, err2)
	}
}

// refusal runs a command that ends by itself, with the addresses of its flags only where it does not say them.
func refusal(t *testing.T, dir string, args []string) string {
	if i := slices.Index(args, "--redis"); i >= 0 && slices.Index(args[i+1:], "--redis") >= 0 {
		args = args[:len(args)-2]
	}
	if args[0] == "up" && !slices.Contains(args, "--listen") {
		args = append(slices.Clone(args), "--listen", "127.0.0.1:0")
	}
	done := tenloom(t, dir, args...)
	if done.stdout != "" {
		t.Errorf("%s printed on stdout:\n%s", args[0], done.stdout)
	}
	return mask(fmt.Sprintf("%s--- exit %d\n", done.stderr, done.code), dir)
}

// faultyApp writes an application with the modules that its manifest names: good ones, and each way to be bad.
func faultyApp(t *testing.T, manifest string) (dir string) {
	if manifest == "" {
		return t.TempDir()
	}
	dir = writeApp(t, manifest)
	good := readFile(t, guests["echo-a.wasm"])
	for name, content := range map[string][]byte{
		"empty.wasm":     {},
		"header.wasm":    good[:6],
		"truncated.wasm": good[:len(good)/2],
		"text.wasm":      []byte("#!/bin/sh\nexec true\n"),
		"component.wasm": []byte("\x00asm\x0d\x00\x01\x00"),
	} {
		if strings.Contains(manifest, `"`+name+`"`) {
			writeFile(t, filepath.Join(dir, name), content)
		}
	}
	if strings.Contains(manifest, `"huge.wasm"`) {
		path := filepath.Join(dir, "huge.wasm")
		writeFile(t, path, good)
		if err := os.Truncate(path, 200<<20); err != nil { // a sparse file: it takes no room on the disk
			t.Fatal(err)
		}
	}
	return dir
}
