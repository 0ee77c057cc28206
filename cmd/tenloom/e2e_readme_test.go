package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestReadmeManyTenants runs the commands of the README's section about many tenants as they stand there, in a shell, one after the other, in the
// folder of an application. Only places and times are others.
func TestReadmeManyTenants(t *testing.T) {
	text := string(readFile(t, filepath.Join("..", "..", "README.md")))
	_, section, ok := strings.Cut(text, "## Many tenants\n")
	_, block, fenced := strings.Cut(section, "```\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !ok || !fenced || !closed {
		t.Fatal("the README has no commands about many tenants")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	redis, state := redistest.Start(t), filepath.Join(t.TempDir(), "state")
	s := startServe(t, state, nil, "--redis", redis.URL)
	dir := greeting(t)
	env := []string{"TENLOOM_CONFIG_DIR=" + t.TempDir(), "PATH=" + filepath.Dir(path) + string(os.PathListSeparator) + os.Getenv("PATH")}
	here := strings.NewReplacer("/var/lib/tenloom/", state+"/", "http://127.0.0.1:7070", s.api, "--wait 5m", "--wait 1s", "tenloom logs -f", "tenloom logs")
	comment := regexp.MustCompile(`\s+#.*$`)
	ran := 0
	for line := range strings.SplitSeq(block, "\n") {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok || strings.HasPrefix(command, "tenloom serve ") {
			continue
		}
		if strings.HasPrefix(command, "tenloom deploy --canary") { // with something new, as people do
			edit(t, filepath.Join(dir, "spin.toml"), `version = "1`, `version = "2`)
		}
		command = here.Replace(comment.ReplaceAllString(command, ""))
		if got := finish(t, dir, env, "sh", "-c", command); got.code != exitOK {
			t.Fatalf("%s: ended with %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("%d commands were run", ran)
	}
}
