package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/tenloom/tenloom/deploy/oci"
)

// registryHost starts a registry, which lets nobody but user:password in where private.
func registryHost(t *testing.T, private bool) string {
	t.Helper()
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if private && (user != "user" || password != "password") {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// push pushes a module in the CNCF's layout and returns its reference.
func push(t *testing.T, host, name, module string) string {
	t.Helper()
	repo, err := remote.NewRepository(host + "/acme/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	repo.Client = &auth.Client{Credential: auth.StaticCredential(host, auth.Credential{Username: "user", Password: "password"})}
	put := func(mediaType string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		if err := repo.Push(t.Context(), d, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: put("application/vnd.wasm.config.v0+json", []byte("{}")),
		Layers: []ocispec.Descriptor{put("application/wasm", []byte(module))}}
	m.SchemaVersion = 2
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return host + "/acme/" + name + "@" + string(put(ocispec.MediaTypeImageManifest, text).Digest)
}

func imageBody(manifest, image string) string {
	b, err := json.Marshal(map[string]any{"manifest": manifest, "source": map[string]string{"oci": image}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A version of an image: from a registry that is open, and from one that wants a login; what cannot be taken is the reference's fault.
func TestVersionsOfImages(t *testing.T) {
	open, private := registryHost(t, false), registryHost(t, true)
	logins := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(logins, fmt.Appendf(nil, `{"auths":{%q:{"auth":"dXNlcjpwYXNzd29yZA=="}}}`, private), 0o600); err != nil {
		t.Fatal(err)
	}
	puller := &oci.Puller{Registries: []string{open, private}}
	h := build(t)
	puller.Put = h.blobs.Put
	h.pull = puller.Pull
	code := module("pulled")
	image := push(t, open, "mailer", code)

	create := func(body string) reply {
		t.Helper()
		return h.as("deployer", "POST", "apps/mailer/versions", body, "Prefer", "wait=30")
	}
	if v := h.ok("deployer", "POST", "apps/mailer/versions?validate=only", imageBody(spin("orders"), image)); v["valid"] != true {
		t.Errorf("%v", v)
	}
	r := create(imageBody(spin("orders"), image))
	if r.status != 201 || !strings.Contains(r.body, sum(code)) || !strings.Contains(r.body, `"state":"ready"`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := create(imageBody(spin("orders"), image)); r.status != 200 || !strings.Contains(r.body, `"unchanged":true`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.as("other deployer", "HEAD", "/v1/tenants/other/apps/secretapp/blobs/"+sum(code), ""); r.status != 404 {
		t.Errorf("another tenant is told what was pulled: %d", r.status)
	}

	closed := push(t, private, "mailer", module("private"))
	for body, says := range map[string]string{
		imageBody(spin("c"), open+"/acme/mailer:latest"):              "not pinned",
		imageBody(spin("c"), open+"/acme/none@"+sum("")):              "is not there",
		imageBody(spin("c"), "elsewhere.example.com/acme/m@"+sum("")): "not allowed",
		imageBody(spin("c"), closed):                                  "does not let",
	} {
		if p := create(body).refused(t, 422, "not_pulled"); !strings.Contains(p.Detail, says) || p.Next == "" {
			t.Errorf("%s: %+v", body, p)
		}
	}
	create(`{"source":{}}`).refused(t, 400, "invalid_request")
	create(`{"source":{"oci":1}}`).refused(t, 400, "invalid_request")
	create(fmt.Sprintf(`{"source":{"oci":%q},"components":{"m":%q}}`, image, sum(code))).refused(t, 422, "invalid_version")
	h.ok("operator", "PUT", "policy", `{"grants":{"app_bytes":10}}`, "If-Match", h.etag("operator", "policy"))
	if p := create(imageBody(spin("c"), image)).refused(t, 422, "not_pulled"); !strings.Contains(p.Detail, "larger than what is allowed") {
		t.Errorf("%+v", p)
	}
	h.ok("operator", "PUT", "policy", `{}`, "If-Match", h.etag("operator", "policy"))

	puller.Credentials = logins
	if r := create(imageBody(spin("c"), closed)); r.status != 201 {
		t.Errorf("with a login: %d %s", r.status, r.body)
	}
}
