package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestExitCode(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	rows := []struct {
		ctx  context.Context
		err  error
		want int
	}{
		{t.Context(), nil, 0},
		{t.Context(), errors.New("broken"), 1},
		{t.Context(), fmt.Errorf("deploy: %w", fail(exitDeploy, "refused")), 7},
		{t.Context(), &exitError{code: exitPending}, 8},
		{t.Context(), fmt.Errorf("publish: %w", &problem{Status: 404}), 3},
		{t.Context(), context.Canceled, 1}, // not by a signal
		{ended, fmt.Errorf("publish: %w", context.Canceled), 130},
		{ended, nil, 0},
		{ended, errors.New("broken"), 1},
	}
	for _, row := range rows {
		if got := exitCode(row.ctx, row.err); got != row.want {
			t.Errorf("exitCode(%v, %v) = %d, want %d", row.ctx.Err(), row.err, got, row.want)
		}
	}
}

func TestExecuteReports(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	rows := []struct {
		ctx    context.Context
		err    error
		code   int
		stderr string
	}{
		{t.Context(), nil, 0, ""},
		{t.Context(), fail(exitConflict, "open %s: %w\n  stop the other one", "state", io.ErrNoProgress), 5,
			"Error: open state: multiple Read calls return no data or error\n  stop the other one\n"},
		{t.Context(), &exitError{code: exitPending}, 8, ""},
		{ended, context.Canceled, 130, ""},
	}
	for _, row := range rows {
		var stderr bytes.Buffer
		root := &cobra.Command{Use: "tenloom", RunE: func(*cobra.Command, []string) error { return row.err }}
		root.SetArgs(nil)
		root.SetErr(&stderr)
		if code := execute(row.ctx, root); code != row.code || stderr.String() != row.stderr {
			t.Errorf("%v: ended with %d and %q, want %d and %q", row.err, code, stderr.String(), row.code, row.stderr)
		}
	}
}

func TestHelpListsExitCodes(t *testing.T) {
	var stdout bytes.Buffer
	root := clientRoot()
	root.SetArgs([]string{"--help"})
	root.SetOut(&stdout)
	if code := execute(t.Context(), root); code != 0 {
		t.Fatal(code)
	}
	for _, code := range []int{exitOK, exitFailed, exitUsage, exitNotFound, exitSignIn, exitConflict, exitQuota, exitDeploy, exitPending, exitInterrupted} {
		if line := fmt.Sprintf("\n  %-4d ", code); !strings.Contains(stdout.String(), line) {
			t.Errorf("the help does not list exit code %d", code)
		}
	}
}

func run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, messages bytes.Buffer
	root := clientRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&messages)
	code = execute(ctx, root)
	return code, out.String(), messages.String()
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, verb := range []string{"publish", "subscribe"} {
		code, stdout, stderr := run(t.Context(), verb, "greetings", "--server", "http://"+address)
		want := "Error: no server answers at http://" + address + "\n  dial tcp " + address + ": connect: connection refused\n" +
			"  \"tenloom up\" starts one; --server or TENLOOM_SERVER names another\n"
		if code != 1 || stdout != "" || stderr != want {
			t.Errorf("%s: ended with %d, %q and\n%swant\n%s", verb, code, stdout, stderr, want)
		}
	}
}

// The server takes the request and hangs up: the message may have been published, and the error says so.
func TestAnswerCutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"id":`)
	}))
	defer server.Close()
	code, _, stderr := run(t.Context(), "publish", "greetings", "--server", server.URL)
	want := "Error: no whole answer from " + server.URL + "\n  unexpected EOF\n  what was asked for may have happened\n"
	if code != 1 || stderr != want {
		t.Errorf("ended with %d and %q, want %q", code, stderr, want)
	}
}

// A signal while the command waits for the server ends it with 130 and no error.
func TestInterrupted(t *testing.T) {
	rows := map[string]struct {
		args []string
		body string
	}{
		"publish":   {[]string{"publish", "greetings"}, ""},
		"many":      {[]string{"publish", "greetings", "--count=9", "--rate=1/h"}, ""},
		"subscribe": {[]string{"subscribe", "greetings", "-q"}, "event: ready\n\n"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if row.body != "" {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, row.body)
					w.(http.Flusher).Flush()
				}
				io.Copy(io.Discard, r.Body) // the connection is watched for its end once the body is read
				cancel()
				<-r.Context().Done()
			}))
			defer server.Close()
			code, stdout, stderr := run(ctx, append(row.args, "--server", server.URL)...)
			if code != 130 || stdout != "" || stderr != "" {
				t.Errorf("ended with %d, %q and %q", code, stdout, stderr)
			}
		})
	}
}

func TestVerbose(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"matched":1}`) }))
	defer server.Close()
	code, _, stderr := run(t.Context(), "publish", "greetings", "-v", "--server", server.URL+"/")
	want := "POST " + server.URL + "/v1/tenants/demo/messages: 200 OK in "
	if code != 0 || !strings.HasPrefix(stderr, want) {
		t.Errorf("ended with %d and %q, want %q", code, stderr, want)
	}
}

func TestProgramName(t *testing.T) {
	for path, want := range map[string]string{
		"/tmp/go-build2545924507/b001/exe/tenloom":                                "go run ./cmd/tenloom",
		"/root/.cache/go-build/5f/" + strings.Repeat("5f", 32) + "-d/tenloom":     "go run ./cmd/tenloom",
		"/srv/cache/5f/" + strings.Repeat("5f", 32) + "-d/tenloom":                "go run ./cmd/tenloom",
		`C:\Users\ada\AppData\Local\Temp\go-build2545924507\b001\exe\tenloom.exe`: "go run ./cmd/tenloom",
		"tenloom": "tenloom", "./bin/tenloom": "tenloom", "/home/ada/go-builder/x": "tenloom", "/usr/bin/tenloom": "tenloom",
	} {
		if got := programName(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
