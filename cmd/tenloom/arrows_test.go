package main_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tenloom/tenloom/"

// arrows say which rooms of the house a room may know, beside its own sub-rooms. A room that is not listed may know none.
var arrows = []struct{ room, may, why string }{
	{"cmd/tenloom", "*", "it wires every room"},
	{"deploy/api", "deploy deploy/manifest scheduler secrets telemetry tenants tenants/endpoint/binding tenants/store tenants/store/artifact tenants/store/kv", "it shows and steers the running system"},
	{"deploy", "deploy/manifest deploy/oci tenants tenants/store tenants/store/artifact", "it reaches the running system through functions that cmd gives it"},
	{"deploy/manifest", "tenants", "a manifest is data"},
	{"deploy/oci", "tenants", "it reads registries"},
	{"scheduler", "telemetry tenants", "it is given sockets and handlers"},
	{"sandbox", "sandbox/outbound sandbox/rewrite sandbox/component sandbox/canon sandbox/wasi sandbox/spin telemetry tenants", "it runs guests for tenants"},
	{"sandbox/component", "", "it reads and plans: it knows no host and no runtime"},
	{"sandbox/component/types", "", "it is the vocabulary of component values: the standard library only"},
	{"sandbox/canon", "sandbox/component/types", "it moves values: it knows no host and no runtime"},
	{"sandbox/canon/host", "sandbox/canon sandbox/component sandbox/component/types", "it is the list of what hosts offer"},
	{"sandbox/canon/host/hosttest", "sandbox/canon sandbox/canon/host sandbox/component/types", "it is a guest for tests"},
	{"sandbox/wasi", "sandbox/canon sandbox/canon/host sandbox/outbound sandbox/spin", "it offers interfaces to guests and knows no tenants"},
	{"sandbox/spin", "sandbox/canon sandbox/canon/host sandbox/outbound", "it takes plain values and knows no tenants"},
	{"sandbox/outbound", "", "it takes plain values and knows no tenants"},
	{"secrets", "tenants", ""},
	{"secrets/vault", "secrets tenants", "it is a provider of secrets"},
	{"secrets/vaulttest", "", "it starts servers for tests"},
	{"telemetry", "tenants", ""},
	{"telemetry/otlp", "telemetry tenants", "it sends what telemetry knows"},
	{"telemetry/otlp/otlptest", "", "it is a collector for tests"},
	{"tenants/endpoint", "tenants", "it is the only place that builds go-redis options"},
	{"tenants/endpoint/binding", "", "it is given a client"},
	{"tenants/endpoint/redistest", "", "it starts servers for tests"},
	{"tenants/store", "tenants", "it keeps the vocabulary's resources"},
	{"tenants/store/storetest", "tenants tenants/store tenants/store/kv", "it tests the store over any kv.Store"},
	{"tenants/store/artifact", "tenants", "it keeps bytes by digest"},
	{"tenants/store/artifact/artifacttest", "tenants/store/artifact", "it tests artifacts over any bucket"},
	{"tenants/store/kv", "", "it is a contract over plain bytes"},
	{"tenants/store/kv/bolt", "tenants/store/kv", "it is a body of the contract"},
	{"tenants/store/kv/etcd", "tenants/store/kv", "it is a body of the contract"},
	{"tenants/store/kv/kvtest", "tenants/store/kv", "it tests any body of the contract"},
	{"tenants", "", "it is the vocabulary: the standard library only"},
	{"examples", "*", "its tests run the examples on the platform"},
}

// TestArrows holds every package's imports against the house's arrows. Tests may know what they test with.
func TestArrows(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (rel == "sdk" || strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || d.Name() == "go-counter") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := filepath.ToSlash(filepath.Dir(rel))
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			checkArrow(t, room, name, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkArrow(t *testing.T, room, name, file string) {
	target, ours := strings.CutPrefix(name, module)
	if !ours {
		if first, _, _ := strings.Cut(name, "/"); room == "tenants" && strings.Contains(first, ".") {
			t.Errorf("%s imports %s: tenants knows the standard library only", file, name)
		}
		if strings.Contains(name, "go-redis") && room == "scheduler" {
			t.Errorf("%s imports %s: the scheduler is given sockets", file, name)
		}
		return
	}
	may, why := allowed(room)
	if may == "*" || strings.HasPrefix(target, room+"/") {
		return
	}
	for _, ok := range strings.Fields(may) {
		if ok == target {
			return
		}
	}
	t.Errorf("%s imports %s: %s may know %q only (%s)", file, target, room, may, why)
}

// allowed finds the room's own row, or that of the room it is part of.
func allowed(room string) (may, why string) {
	for ; room != "."; room = filepath.ToSlash(filepath.Dir(room)) {
		for _, a := range arrows {
			if a.room == room {
				return a.may, a.why
			}
		}
	}
	return "", "it is not in the list of rooms"
}
