package vaulttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The plugins, named as the server registers them.
const (
	plugin     = "vault-plugin-database-redis"
	kubernetes = "vault-plugin-auth-kubernetes"
)

// find is the folder of a vault server and its plugins, as .ci/vault has found or built it: what it printed, in TENLOOM_TEST_VAULT; else
// PATH; else the newest build in the cache that this version of Go made. On a machine of which .ci/vault said that it has none and can build
// none, the test is left out by that name; a machine that was not asked fails.
func find(t testing.TB) string {
	t.Helper()
	if said := os.Getenv("TENLOOM_TEST_VAULT"); said != "" {
		if why, out := strings.CutPrefix(said, "left out: "); out {
			t.Skip("left out: " + why)
		}
		return said
	}
	if path, err := exec.LookPath("vault"); err == nil {
		if dir := filepath.Dir(path); complete(dir) {
			return dir
		}
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatalf("find the cache of .ci/vault: %v", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	built, _ := filepath.Glob(filepath.Join(cache, "tenloom", "vault", "*-"+runtime.Version())) // the pattern is well formed
	for i := len(built) - 1; i >= 0; i-- {
		if complete(built[i]) {
			return built[i]
		}
	}
	t.Fatal("this test needs a Vault server: run .ci/vault, which finds or builds one, or: make test")
	return ""
}

func complete(dir string) bool {
	for _, name := range []string{"vault", plugin, kubernetes} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// plugins is a folder with nothing but plugins in it, because the server registers every program that it finds in there.
func plugins(dir, temp string, names []string) error {
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(temp, name)); err == nil {
			continue
		}
		program, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("copy a plugin: %w", err)
		}
		if err := os.WriteFile(filepath.Join(temp, name), program, 0o700); err != nil {
			return err
		}
	}
	return nil
}
