// Package templates is the files that "tenloom new" writes: a Spin application with one Redis-triggered handler, a test,
// and everything it needs to build without a network. It writes nothing itself.
package templates

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// A Go handler builds against the SDK's source beside it. That source cannot be embedded from sdk/, which is a module of
// its own and thus out of go:embed's reach, and requiring that module with a replace directive would end
// "go install github.com/tenloom/tenloom/cmd/tenloom@latest". So it travels as an archive that pack makes of sdk/, byte for
// byte reproducible; a test and examples/build.sh --check compare it with sdk/.
//
//go:generate go run ./pack ../../sdk sdk.zip
//go:embed sdk.zip
var sdk []byte

// Files of a template end in .tmpl, so that neither Go nor git takes them for its own; "dot-" at the front is a dot.
//
//go:embed go c
var sources embed.FS

// placeholder stands for the application's name. Spin has taken double braces, and TOML double brackets.
const placeholder = "@NAME@"

// Kinds lists the templates.
func Kinds() []string { return []string{"c", "go"} }

// Files gives the files of a new application of a kind, by slash-separated path. name becomes the application's, the
// component's and the channel's name: words of a-z and 0-9 that start with a letter, joined by "-", 63 characters at most.
func Files(kind, name string) (map[string][]byte, error) {
	if !slices.Contains(Kinds(), kind) {
		return nil, fmt.Errorf("there is no template %q; there are: %s", kind, strings.Join(Kinds(), ", "))
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	err := fs.WalkDir(sources, kind, func(from string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := sources.ReadFile(from)
		if err != nil {
			return err
		}
		to := strings.TrimSuffix(path.Base(from), ".tmpl")
		if rest, ok := strings.CutPrefix(to, "dot-"); ok {
			to = "." + rest
		}
		files[to] = bytes.ReplaceAll(data, []byte(placeholder), []byte(name))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", kind, err)
	}
	if kind == "go" {
		err = unpack(files)
	}
	return files, err
}

// checkName is tenants' rule for a name and Spin's for a component's id.
func checkName(name string) error {
	if err := tenants.CheckName(name); err != nil {
		return err
	}
	for word := range strings.SplitSeq(name, "-") {
		if word == "" || word[0] < 'a' {
			return fmt.Errorf("name %q cannot be a component's: each of its words must start with a letter", name)
		}
	}
	return nil
}

// unpack adds the SDK's source under sdk/.
func unpack(files map[string][]byte) error {
	archive, err := zip.NewReader(bytes.NewReader(sdk), int64(len(sdk)))
	if err != nil {
		return fmt.Errorf("open the SDK's archive: %w", err)
	}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("open the SDK's %s: %w", f.Name, err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read the SDK's %s: %w", f.Name, err)
		}
		files["sdk/"+f.Name] = data
	}
	return nil
}
