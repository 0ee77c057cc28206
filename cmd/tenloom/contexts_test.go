package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

// command runs a client command as a person would, and returns its output, what it said, and its exit code.
func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, messages bytes.Buffer
	root := clientRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&messages)
	code = execute(context.Background(), root)
	return out.String(), messages.String(), code
}

// account answers whoami for one token, and says which token it was asked with.
func account(t *testing.T, token string) (server *httptest.Server, seen *string) {
	seen = new(string)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		if *seen != "Bearer "+token {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"title":"Not signed in","status":401,"code":"unauthenticated"}`)
			return
		}
		fmt.Fprint(w, `{"subject":"tok_1","kind":"token","tenant":"acme","role":"deployer","token":{"name":"ci"}}`)
	}))
	t.Cleanup(server.Close)
	return server, seen
}

func TestLogin(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TENLOOM_CONFIG_DIR", dir)
	t.Chdir(t.TempDir())
	token := tenants.NewTokenText().Reveal()
	server, _ := account(t, token)
	other, seen := account(t, "none")

	for _, row := range []struct{ stdin, want string }{
		{"", "there is no token to sign in with"},
		{"hunter2\n", "this is no token"},
		{tenants.NewTokenText().Reveal(), "Not signed in"},
	} {
		_, stderr, code := command(t, row.stdin, "login", server.URL)
		if code == exitOK || !strings.Contains(stderr, row.want) || strings.Contains(stderr, "hunter2") {
			t.Errorf("login with %q: %d %s", row.stdin, code, stderr)
		}
	}
	if _, stderr, code := command(t, token+"\n", "login", server.URL); code != exitOK || !strings.Contains(stderr, `Signed in as "ci" (deployer in acme). Context "local" is now current.`) {
		t.Fatalf("%d %s", code, stderr)
	}
	file := filepath.Join(dir, "contexts", "local.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if out, _, code := command(t, "", "whoami"); code != exitOK || !strings.Contains(out, `"ci" (deployer in acme)`) {
		t.Errorf("%d %s", code, out)
	}

	// A token goes to the server that it is for, and to no other.
	t.Setenv("TENLOOM_SERVER", other.URL)
	if _, _, code := command(t, "", "whoami"); code != exitSignIn || *seen != "" {
		t.Errorf("%d, seen %q", code, *seen)
	}
	t.Setenv("TENLOOM_SERVER", "")
	if err := writeLink(".", target{Server: server.URL, App: "mailer"}); err != nil {
		t.Fatal(err)
	}
	if _, _, code := command(t, "", "whoami"); code != exitOK {
		t.Errorf("linked to the context's server: %d", code)
	}
	t.Setenv("TENLOOM_TOKEN", token)
	if err := writeLink(".", target{Server: other.URL}); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := command(t, "", "whoami"); code != exitSignIn || !strings.Contains(stderr, "does not say where a token goes") {
		t.Errorf("linked elsewhere: %d %s", code, stderr)
	}
	if _, _, code := command(t, "", "whoami", "--server", server.URL); code != exitOK {
		t.Errorf("with TENLOOM_TOKEN: %d", code)
	}
	t.Setenv("TENLOOM_TOKEN", "")
	os.Remove(linkFile)

	if _, _, code := command(t, "", "logout"); code != exitOK {
		t.Errorf("logout: %d", code)
	}
	text, _ := os.ReadFile(file)
	if strings.Contains(string(text), token) {
		t.Error("the token is still there")
	}
	if _, _, code := command(t, "", "whoami"); code != exitSignIn {
		t.Errorf("after logout: %d", code)
	}
}

func TestLoginInTheClear(t *testing.T) {
	t.Setenv("TENLOOM_CONFIG_DIR", t.TempDir())
	_, stderr, code := command(t, tenants.NewTokenText().Reveal(), "login", "http://cloud.example.com")
	if code != exitSignIn || !strings.Contains(stderr, "in the clear") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestContexts(t *testing.T) {
	t.Setenv("TENLOOM_CONFIG_DIR", t.TempDir())
	for _, step := range []struct {
		args, out, said string
		code            int
	}{
		{"context ls", "", "There are no contexts", 0},
		{"context use -", "", "no context was used before", exitNotFound},
		{"context add one --server https://one.example.com -t acme", "", `Context "one" is there`, 0},
		{"context add two --server two.example.com", "", "", 0},
		{"context add Two --server x", "", "Two", exitUsage},
		{"context add x --server ftp://x", "", "not an address of a server", exitUsage},
		{"context use one", "", "now current: https://one.example.com", 0},
		{"context use two", "", "", 0},
		{"context use -", "", `Context "one" is now current`, 0},
		{"context use -", "", `Context "two" is now current`, 0},
		{"context use tow", "", `did you mean "two"?`, exitNotFound},
		{"context ls -o name", "one\ntwo\n", "", 0},
		{"context ls", "\tone\thttps://one.example.com\tacme\tno\n*\ttwo\thttps://two.example.com\t\tno\n", "", 0},
		{"context rm two", "", "", 0},
		{"context rm two", "", `there is no context "two"`, exitNotFound},
		{"context ls -o name", "one\n", "", 0},
	} {
		out, said, code := command(t, "", strings.Fields(step.args)...)
		if code != step.code || step.out != "" && out != step.out || !strings.Contains(said, step.said) {
			t.Errorf("%s: %d\n%q\n%s; want %d %q %s", step.args, code, out, said, step.code, step.out, step.said)
		}
	}
}
