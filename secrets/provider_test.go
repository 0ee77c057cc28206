package secrets_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/secrets"
)

func TestEnv(t *testing.T) {
	t.Setenv("TENLOOM_VARIABLE_API_KEY", "ours")
	t.Setenv("SPIN_VARIABLE_API_KEY", "spin's")
	t.Setenv("SPIN_VARIABLE_REGION", "eu")
	t.Setenv("TENLOOM_VARIABLE_EMPTY", "")
	t.Setenv("SPIN_VARIABLE_EMPTY", "not this")
	t.Setenv("TENLOOM_VARIABLE_RAW", secret+"\xff")
	env := secrets.Env(secrets.EnvPrefix, secrets.SpinEnvPrefix)
	for name, want := range map[string]string{"api_key": "ours", "region": "eu", "empty": ""} {
		if v, ok, err := env.Lookup(t.Context(), name); err != nil || !ok || v.Reveal() != want {
			t.Errorf("%s is %q, %v, %v, want %q", name, v.Reveal(), ok, err, want)
		}
	}
	if _, ok, err := env.Lookup(t.Context(), "nowhere"); ok || err != nil {
		t.Errorf("nowhere: %v, %v", ok, err)
	}
	_, _, err := env.Lookup(t.Context(), "raw")
	if err == nil || err.Error() != "environment variable TENLOOM_VARIABLE_RAW is not UTF-8" {
		t.Error(err)
	}
	if got := env.String(); got != "environment (TENLOOM_VARIABLE_*, SPIN_VARIABLE_*)" {
		t.Error(got)
	}
}

// Each file of testdata/files is: the content of a variables file, a line of dashes, then name=quoted value lines or the error. The file
// name after the first dot-separated word is the name of the variables file.
func TestFileGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/files/*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(path), func(t *testing.T) {
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(golden), "-----\n")
			if !ok {
				t.Fatal("no dashes")
			}
			_, name, _ := strings.Cut(filepath.Base(path), ".")
			t.Chdir(t.TempDir())
			if err := os.WriteFile("vars."+name, []byte(input), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := describe(t, "vars."+name); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe prints what File found under the names that the cases use, or its error.
func describe(t *testing.T, path string) string {
	provider, err := secrets.File(path)
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for _, name := range []string{"api_key", "comment", "empty", "greeting", "hash", "lines", "path", "price", "raw", "region", "undefined"} {
		v, ok, err := provider.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			fmt.Fprintf(&out, "%s=%q\n", name, v.Reveal())
		}
	}
	if provider.String() != path {
		t.Errorf("prints %s, want %s", provider, path)
	}
	return out.String()
}

func TestFileRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("vars.yaml", "api_key: "+secret)
	write("latin1.json", `{"api_key": "`+secret+"\xe9\"}")
	write("large.env", "API_KEY="+secret+strings.Repeat("x", 1<<20))
	for path, want := range map[string]string{
		"vars.yaml":   "variables file vars.yaml: want a name that ends in .json, .toml or .env",
		"latin1.json": "variables file latin1.json: not UTF-8",
		"large.env":   "variables file large.env: larger than 1 MiB",
		"absent.toml": "read variables: open absent.toml: no such file or directory",
	} {
		if _, err := secrets.File(path); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, err := secrets.File("absent.toml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap fs.ErrNotExist", err)
	}
	for _, name := range []string{".env", ".env.local", "app.env"} {
		write(name, "TENLOOM_VARIABLE_API_KEY=x")
		if got := describe(t, name); got != "api_key=\"x\"\n" {
			t.Errorf("%s: %s", name, got)
		}
	}
	write("full.json", `{"api_key":"`+strings.Repeat("x", 1<<20-14)+`"}`)
	if _, err := secrets.File("full.json"); err != nil {
		t.Errorf("1 MiB exactly: %v", err)
	}
}

func TestParseFlag(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		"note.txt": "line 1\nline 2\n", "vars.json": `{"a":"1","b":"2"}`, "vars.toml": "a = \"1\"\nb = '2'\n", "bad.json": `{"a": ` + secret,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both := map[string]string{"a": "1", "b": "2"}
	for flag, want := range map[string]map[string]string{
		"k=v":         {"k": "v"},
		"k=":          {"k": ""},
		"k=a=b=c":     {"k": "a=b=c"},
		"k= v ":       {"k": " v "},
		"k=@note.txt": {"k": "line 1\nline 2\n"},
		"@vars.json":  both,
		"@vars.toml":  both,
	} {
		if got, err := secrets.ParseFlag(flag); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", flag, got, err, want)
		}
	}
	rule := `--variable: what stands before "=" is not a variable name: lower-case letters, digits and single inner "_" only, a letter first`
	for flag, want := range map[string]string{
		secret:           "--variable: want name=value, name=@file, @file.json or @file.toml",
		"":               "--variable: want name=value, name=@file, @file.json or @file.toml",
		"API_KEY=" + "x": rule,
		secret + "==":    rule, // a value in base 64 whose name was forgotten
		"=x":             rule,
		"@whatami":       "--variable @whatami: want a file that ends in .json or .toml, or name=@file for one value",
		"@vars.env":      "--variable @vars.env: want a file that ends in .json or .toml, or name=@file for one value",
		"k=@absent":      "--variable k: read variables: open absent: no such file or directory",
		"@absent.json":   "read variables: open absent.json: no such file or directory",
		"@bad.json":      "variables file bad.json: line 1: not valid JSON",
	} {
		got, err := secrets.ParseFlag(flag)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v, want %s", flag, got, err, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	cases, err := filepath.Glob("testdata/files/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		golden, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(golden), "-----\n")
		for _, ext := range []string{".json", ".toml", ".env"} {
			f.Add(input, ext)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content, ext string) {
		if !slices.Contains([]string{".json", ".toml", ".env"}, ext) {
			return
		}
		path := filepath.Join(dir, "vars"+ext)
		// The marker stands where a value would: whatever is wrong with the file, no error may repeat it.
		if err := os.WriteFile(path, []byte(content+"\n"+secret+"= "+secret+" '"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := secrets.File(path); err != nil && strings.Contains(err.Error(), "= "+secret) {
			t.Fatal(err)
		}
	})
}
