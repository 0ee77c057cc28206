package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/sandbox"
)

var update = flag.Bool("update", false, "write the outputs into the golden files")

func TestMain(m *testing.M) {
	sandbox.CompileMain()
	os.Setenv("TZ", "UTC") // read at the first local time; a write to time.Local would race with the timers that packages have started
	for _, name := range []string{"TENLOOM_SERVER", "TENLOOM_TENANT", "TENLOOM_APP", "TENLOOM_TOKEN", "TENLOOM_TOKEN_FILE", "TENLOOM_CONTEXT", "NO_COLOR", "CI"} {
		os.Unsetenv(name)
	}
	config, err := os.MkdirTemp("", "tenloom-config-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("TENLOOM_CONFIG_DIR", config) // a person's own contexts are not for tests
	code := m.Run()
	os.RemoveAll(config)
	os.RemoveAll(programDir) // "" where no test built the program
	os.Exit(code)
}

// clientRoot is the program with the commands that talk to a server or to nobody.
func clientRoot() *cobra.Command {
	root := &cobra.Command{Use: "tenloom", Short: "Run handlers", Long: exitHelp}
	g := addGlobals(root)
	g.program = "tenloom" // the test binary looks as if "go run" had started it
	root.AddCommand(publishCommand(g), subscribeCommand(g), newCommand(g), versionCommand(g), configCommand(g), contextCommand(g), loginCommand(g), logoutCommand(g), whoamiCommand(g), apiCommand(g), tenantsCommand(g), membersCommand(g), policyCommand(g), limitsCommand(g), usageCommand(g), tokensCommand(g), appsCommand(g), triggersCommand(g), channelsCommand(g), invocationsCommand(g), varsCommand(g), secretsCommand(g), auditCommand(g), backupCommand(g), restoreCommand(g), logsCommand(g), versionsCommand(g), deploymentsCommand(g), promoteCommand(g), rollbackCommand(g), deployCommand(g), diffCommand(g))
	return root
}

// platformAPI answers as the script says, one answer for each request and the last again and again, and writes requests down.
type platformAPI struct {
	answers []answer

	mu       sync.Mutex
	requests strings.Builder
	served   int
}

type answer struct {
	status int
	kind   string
	body   string
}

func (p *platformAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(&p.requests, "%s %s %s\n", r.Method, r.URL, body)
	if len(p.answers) == 0 {
		http.Error(w, "no answer in the script", http.StatusTeapot)
		return
	}
	a := p.answers[min(p.served, len(p.answers)-1)]
	p.served++
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// Each file of testdata/*.txt is: the arguments, one on a line; sections "--- stdin" and "--- answer STATUS [TYPE]"; a line of =; what
// the command asked the server for, what it printed, and how it ended.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(text), "=====\n")
			if !ok {
				t.Fatal("no line of =")
			}
			got := runScript(t, input)
			if *update {
				if err := os.WriteFile(path, []byte(input+"=====\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// took is what "-v" says of a request that differs each time.
var took = regexp.MustCompile(`in [0-9.]+ m?s\b`)

func runScript(t *testing.T, input string) string {
	args, stdin, api := parseScript(t, input)
	server := httptest.NewServer(api)
	defer server.Close()
	t.Setenv("TENLOOM_SERVER", server.URL)
	var stdout, stderr bytes.Buffer
	root := clientRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code := execute(context.Background(), root)
	got := fmt.Sprintf("--- requests\n%s--- stdout\n%s--- stderr\n%s--- exit %d\n", api.requests.String(), stdout.String(), stderr.String(), code)
	return strings.ReplaceAll(took.ReplaceAllString(got, "in TIME"), server.URL, defaultServer)
}

func parseScript(t *testing.T, input string) (args []string, stdin string, api *platformAPI) {
	api = &platformAPI{}
	sections := strings.Split("\n"+input, "\n--- ")
	args = strings.Split(strings.TrimSpace(sections[0]), "\n")
	for _, section := range sections[1:] {
		head, body, _ := strings.Cut(section, "\n")
		words := strings.Fields(head)
		switch words[0] {
		case "stdin":
			stdin = body
		case "answer":
			a := answer{kind: "application/json", body: body + "\n"}
			if _, err := fmt.Sscan(words[1], &a.status); err != nil {
				t.Fatal(err)
			}
			if a.status >= 400 {
				a.kind = "application/problem+json"
			}
			if len(words) > 2 {
				a.kind = words[2]
			}
			api.answers = append(api.answers, a)
		default:
			t.Fatalf("unknown section %q", head)
		}
	}
	return args, stdin, api
}
