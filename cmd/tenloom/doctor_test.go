package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestPrintFindings(t *testing.T) {
	trials := []sandbox.ResetTrial{{Method: sandbox.ResetByScan, Err: errors.New("ioctl PAGEMAP_SCAN: inappropriate ioctl for device")},
		{Method: sandbox.ResetByPagemap}, {Method: sandbox.ResetByCopy}}
	all := append(resetFindings(trials), finding{"cache", statusFail, "others may write x", "chmod 700 x"})
	for format, want := range map[string]string{
		"table": `ok    reset          instances are made clean by pagemap
note  reset scan     does not work here: ioctl PAGEMAP_SCAN: inappropriate ioctl for device
ok    reset pagemap  in use
ok    reset copy     works
fail  cache          others may write x
                     chmod 700 x
`,
		"ndjson": `{"checks":[{"check":"reset","status":"ok","found":"instances are made clean by pagemap"},` +
			`{"check":"reset scan","status":"note","found":"does not work here: ioctl PAGEMAP_SCAN: inappropriate ioctl for device"},` +
			`{"check":"reset pagemap","status":"ok","found":"in use"},{"check":"reset copy","status":"ok","found":"works"},` +
			`{"check":"cache","status":"fail","found":"others may write x","next":"chmod 700 x"}]}` + "\n",
	} {
		var out bytes.Buffer
		err := printFindings(screen{w: &out, format: format}, all)
		if out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, out.String(), want)
		}
		if err == nil || err.Error() != "1 check of 5 failed" || exitCode(t.Context(), err) != exitFailed {
			t.Errorf("%s: %v", format, err)
		}
		if err := printFindings(screen{w: &out, format: format}, all[:4]); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	copied := resetFindings([]sandbox.ResetTrial{{Method: sandbox.ResetByScan, Err: errors.New("x")}, {Method: sandbox.ResetByCopy}})
	if copied[0].Status != statusNote || copied[0].Next == "" {
		t.Errorf("copying all is not noted: %+v", copied[0])
	}
}

func TestStateFindings(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	file := filepath.Join(dir, "file")
	open := filepath.Join(dir, "open", "cache")
	for _, made := range []string{filepath.Join(state, "cache"), open} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{file, filepath.Join(state, "cache", "code")} {
		if err := os.WriteFile(name, make([]byte, 2048), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		dir  string
		want string
	}{
		{filepath.Join(dir, "new"), "state ok DIR/new will be made"},
		{filepath.Join(dir, "no", "where"), "state fail DIR/no/where cannot be made: open DIR/no: no such file or directory -> name another place with --state DIR"},
		{file, "state fail DIR/file is not a directory -> move it away, or name another place with --state DIR"},
		{state, "state ok DIR/state, mode 0700; cache ok DIR/state/cache, mode 0700, 1 file, 2.0 KiB"},
		{filepath.Dir(open), "state ok DIR/open, mode 0700; cache fail others may write DIR/open/cache (mode 0777), and what it holds is run as machine code -> chmod 700 DIR/open/cache"},
	} {
		var got []string
		for _, f := range stateFindings(row.dir) {
			line := strings.Join([]string{f.Check, string(f.Status), f.Found}, " ")
			if f.Next != "" {
				line += " -> " + f.Next
			}
			got = append(got, line)
		}
		text := strings.ReplaceAll(strings.Join(got, "; "), dir, "DIR")
		if i := strings.Index(text, "open DIR/no/.doctor-"); i >= 0 { // the name of a file that could not be made
			text = text[:i] + "open DIR/no" + text[strings.Index(text, ": no such file"):]
		}
		if text != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", row.dir, text, row.want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", ".doctor-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRedisFindings(t *testing.T) {
	server := redistest.Start(t)
	look := func(address string) string {
		t.Helper()
		o, err := endpoint.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range redisFindings(context.Background(), o) {
			got = append(got, f.Check+" "+string(f.Status)+" "+f.Found)
		}
		return strings.Join(got, "\n")
	}
	server.SetUser("shy", "on", ">secret", "~*", "+@connection", "-acl")
	ask := server.Client()
	for _, limit := range []string{"0 0 0", "1048576 0 0", "67108864 0 0"} {
		if err := ask.ConfigSet(t.Context(), "client-output-buffer-limit", "pubsub "+limit).Err(); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"0 0 0": "ok no limit", "1048576 0 0": "note subscribers may lag 1.0 MiB", "67108864 0 0": "ok subscribers may lag 64.0 MiB"}[limit]
		got := look("redis://" + server.Addr)
		for _, part := range []string{"redis ok redis://" + server.Addr + " answers", "redis version ok redis ", ", RESP 3, standalone, master", "redis user ok default", "redis output buffer " + want} {
			if !strings.Contains(got, part) {
				t.Errorf("%q is not in\n%s", part, got)
			}
		}
	}
	if got := look(server.As("shy", "secret")); !strings.Contains(got, "redis user note not told") || !strings.Contains(got, "redis output buffer note not told: NOPERM") || strings.Contains(got, "secret") {
		t.Errorf("a user who may do little:\n%s", got)
	}
	if got := look("redis://" + server.Addr + "?protocol=2"); !strings.Contains(got, "RESP 2") {
		t.Errorf("over the other protocol:\n%s", got)
	}
	server.Stop()
	if got := look("redis://" + server.Addr); !strings.Contains(got, "redis fail redis://"+server.Addr+" does not answer") {
		t.Errorf("stopped:\n%s", got)
	}
}

// The whole command, on the machine that runs the test: it needs nothing that is not here.
func TestDoctor(t *testing.T) {
	var out, messages bytes.Buffer
	root := rootCommand()
	root.SetArgs([]string{"doctor", "--json", "--redis", "", "--state", filepath.Join(t.TempDir(), "state")})
	root.SetOut(&out)
	root.SetErr(&messages)
	if code := execute(t.Context(), root); code != exitOK {
		t.Fatalf("ended with %d\n%s%s", code, out.String(), messages.String())
	}
	var got struct{ Checks []finding }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var checks []string
	for _, f := range got.Checks {
		checks = append(checks, f.Check)
		if f.Found == "" || f.Status == statusFail || f.Status == statusNote && f.Check == "guests" {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"system", "guests", "reset", "reset copy", "state"} {
		if !slices.Contains(checks, check) {
			t.Errorf("%q is not among %v", check, checks)
		}
	}
}
