package deploy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

// image pushes an image to a registry and returns its reference.
func image(t *testing.T, host, configType string, config any, layers map[string][]byte) string {
	t.Helper()
	repo, err := remote.NewRepository(host + "/acme/mailer")
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
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: push(configType, encode(config))}
	m.SchemaVersion = 2
	for kind, content := range layers {
		mediaType, _, _ := strings.Cut(kind, "#")
		m.Layers = append(m.Layers, push(mediaType, content))
	}
	return host + "/acme/mailer@" + string(push(ocispec.MediaTypeImageManifest, encode(m)).Digest)
}

const (
	cncf     = "application/vnd.wasm.config.v0+json"
	spin     = "application/vnd.fermyon.spin.application.v1+config"
	spinWasm = "application/vnd.wasm.content.layer.v1+wasm"
	spinData = "application/vnd.wasm.content.layer.v1+data"
)

func sum(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// TestVersionFromRegistry takes applications in both layouts from a registry, and what looks like them.
func TestVersionFromRegistry(t *testing.T) {
	h := fresh(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	h.puller.Registries = []string{host}

	echo, reader, file := guest(t, "echo-a"), guest(t, "reader"), bytes.Repeat([]byte("from a layer. "), 20)
	v := h.version("mailer", deploy.VersionSource{Manifest: text("", "orders"), OCI: image(t, host, cncf, struct{}{}, map[string][]byte{"application/wasm": echo})})
	if v.Components["m"] != sum(echo) {
		t.Errorf("the component is %s", v.Components["m"])
	}
	config := json.RawMessage(fmt.Sprintf(`{"spin_lock_version":1,"metadata":{"name":"mailer","version":"1.0"},
		"variables":{"greeting":{"default":"hello"}},
		"triggers":[{"id":"t","trigger_type":"redis","trigger_config":{"component":"m","channel":"bills"}}],
		"components":[{"id":"m","metadata":{"allowed_outbound_hosts":["https://example.com"],"key_value_stores":["default"]},
		"source":{"content_type":"application/wasm","digest":%q},"env":{"A":"b"},"config":{"g":"{{ greeting }}"},
		"files":[{"path":"/deep/a.txt","digest":%q},{"path":"b.txt","inline":"aW5saW5l"}]}]}`, sum(reader), sum(file)))
	h.version("mailer", deploy.VersionSource{OCI: image(t, host, spin, config, map[string][]byte{spinWasm: reader, spinData: file})})
	h.deploy("mailer", 2)
	h.listens("acme:bills")
	for ask, want := range map[string]string{"file deep/a.txt": "from a layer", "file b.txt": "inline", "env": "A=b"} {
		if got := h.ask("acme:bills", ask); len(got) != 1 || !strings.Contains(got[0].Output, want) {
			t.Errorf("%s gives %+v", ask, got)
		}
	}

	for name, row := range map[string]struct {
		source deploy.VersionSource
		code   deploy.ProblemCode
		says   string
	}{
		"a tag":            {deploy.VersionSource{OCI: host + "/acme/mailer:latest"}, deploy.NotPulled, "not pinned"},
		"no reference":     {deploy.VersionSource{OCI: "https://x/../y"}, deploy.NotPulled, "no reference"},
		"another registry": {deploy.VersionSource{OCI: "127.0.0.1:1/acme/mailer@" + sum(echo)}, deploy.NotPulled, "not allowed"},
		"not there":        {deploy.VersionSource{OCI: host + "/acme/mailer@" + sum(nil)}, deploy.NotPulled, "not there"},
		"not Wasm":         {deploy.VersionSource{OCI: image(t, host, "application/vnd.oci.image.config.v1+json", struct{}{}, nil)}, deploy.NotPulled, "no Wasm application"},
		"no manifest":      {deploy.VersionSource{OCI: image(t, host, cncf, struct{}{}, map[string][]byte{"application/wasm": echo})}, deploy.InvalidVersion, "no manifest"},
		"two modules":      {deploy.VersionSource{OCI: image(t, host, cncf, struct{}{}, map[string][]byte{"application/wasm": echo, "application/wasm#2": reader})}, deploy.NotPulled, "2 layers"},
		"an archive":       {deploy.VersionSource{OCI: image(t, host, spin, config, map[string][]byte{"application/vnd.wasm.content.bundle.v1.tar+gzip": file})}, deploy.NotPulled, "archive"},
		"a layer too few":  {deploy.VersionSource{OCI: image(t, host, spin, config, map[string][]byte{spinWasm: reader})}, deploy.NotPulled, "none of its layers"},
		"too large":        {deploy.VersionSource{Manifest: text("", "orders"), OCI: image(t, host, cncf, struct{}{}, map[string][]byte{"application/wasm": make([]byte, 51<<20)})}, deploy.NotPulled, "larger than"},
		"HTTP trigger": {deploy.VersionSource{OCI: image(t, host, spin, json.RawMessage(strings.Replace(string(config), `"redis"`, `"http"`, 1)), map[string][]byte{spinWasm: reader, spinData: file})},
			deploy.InvalidManifest, "http"},
		"both": {deploy.VersionSource{OCI: host + "/a@" + sum(nil), Components: map[tenants.ComponentID]string{"m": sum(echo)}}, deploy.InvalidVersion, "not from both"},
	} {
		_, err := h.CreateVersion(context.Background(), ada, tenant, "mailer", row.source)
		if p := problem(t, err, row.code); !strings.Contains(p.Error(), row.says) {
			t.Errorf("%s: %v", name, p)
		}
	}
}
