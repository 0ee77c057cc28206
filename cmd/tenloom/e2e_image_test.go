package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// pushImage pushes an image of one layer and returns its reference.
func pushImage(t *testing.T, name, configType, config, layerType string, layer []byte) string {
	t.Helper()
	repo, err := remote.NewRepository(name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	push := func(mediaType string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		if err := repo.Push(t.Context(), d, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: push(configType, []byte(config)), Layers: []ocispec.Descriptor{push(layerType, layer)}}
	m.SchemaVersion = 2
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return "oci://" + name + "@" + string(push(ocispec.MediaTypeImageManifest, text).Digest)
}

// TestHostedImage: applications are deployed from a registry, in Spin's layout as it stands and in the CNCF's with a manifest.
func TestHostedImage(t *testing.T) {
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer images.Close()
	host := strings.TrimPrefix(images.URL, "http://")
	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", redis.URL, "--registries-allowed", host)
	acme := s.join(t, s.operator(t), "acme")
	app, none := greeting(t), t.TempDir()
	module, err := os.ReadFile(filepath.Join(app, "greet.wasm"))
	if err != nil {
		t.Fatal(err)
	}

	manifest := "spin_manifest_version = 2\n[application]\nname = \"hello\"\n[[trigger.redis]]\nchannel = \"greetings\"\ncomponent = \"greet\"\n[component.greet]\nsource = \"greet.wasm\"\n"
	if err := os.WriteFile(filepath.Join(app, "spin.toml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	one := pushImage(t, host+"/acme/hello", "application/vnd.wasm.config.v0+json", "{}", "application/wasm", module)
	acme.does(none, `no manifest`, exitDeploy, "deploy", "--from", one)
	acme.does(none, `Live +acme/hello v1 100 %`, 0, "deploy", app, "--from", one, "--prune")
	acme.does(none, `"Hello, Ada"`, 0, "publish", "greetings", `{"name":"Ada"}`)

	locked := fmt.Sprintf(`{"metadata":{"name":"waves"},"triggers":[{"id":"t","trigger_type":"redis","trigger_config":{"component":"greet","channel":"waves"}}],
		"components":[{"id":"greet","metadata":{},"source":{"digest":%q}}]}`, digest.FromBytes(module))
	whole := pushImage(t, host+"/acme/waves", "application/vnd.fermyon.spin.application.v1+config", locked, "application/vnd.wasm.content.layer.v1+wasm", module)
	acme.does(none, `nothing was deployed`, 0, "deploy", "--from", whole, "--dry-run")
	acme.does(none, `Live +acme/waves v1 100 %`, 0, "deploy", "--from", whole)
	acme.does(none, `"Hello, Eve"`, 0, "publish", "waves", `{"name":"Eve"}`)

	acme.does(none, `not pinned`, exitUsage, "deploy", "--from", "oci://"+host+"/acme/hello:latest")
	acme.does(none, `--prune takes the manifest`, exitUsage, "deploy", "--from", one, "--prune")
	acme.does(none, `is not allowed here\n.*use one of `+host, exitUsage, "deploy", "--from", "oci://ghcr.io/acme/hello@"+digest.FromString("x").String())
}
