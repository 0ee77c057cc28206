package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// issuer issues identities as ES256 JWTs (RFC 7519, RFC 7518 section 3.4), and says at its address by which key to know them (RFC 7517).
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"one","use":"sig","alg":"ES256","x":%q,"y":%q}]}`, in64(point[1:33]), in64(point[33:]))
	}))
	t.Cleanup(i.Close)
	return i
}

func in64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is an identity with these claims, for an hour.
func (i *issuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	now := time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Add(-time.Minute).Unix(), now.Add(-time.Minute).Unix(), now.Add(time.Hour).Unix()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signing := in64([]byte(`{"alg":"ES256","typ":"JWT","kid":"one"}`)) + "." + in64(body)
	sum := sha256.Sum256([]byte(signing))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signing + "." + in64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// signedIn reads a secret with a sign-in, waits for another sign-in after the token's end, and reads another secret.
func signedIn(t *testing.T, s *vaulttest.Server, c vault.Config) {
	t.Helper()
	s.Put("signin/one", map[string]any{"value": "1"})
	s.Put("signin/two", map[string]any{"value": "2"})
	client := run(t, c)
	kv, err := client.KV(vault.KVConfig{Path: "signin/{{ name }}"})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := lookup(t, kv.For("", ""), "one"); v != "1" || !ok {
		t.Fatalf("%q %v: %s", v, ok, client.State())
	}
	if first := client.State(); !strings.HasPrefix(first.String(), "valid, ") || !first.Again {
		t.Fatalf("%s", first)
	} else {
		until(t, "it signs in anew", func() bool { return client.State().Until.After(first.Until.Add(3 * time.Second)) })
	}
	if v, ok := lookup(t, kv.For("", ""), "two"); v != "2" || !ok {
		t.Fatalf("%q %v: %s", v, ok, client.State())
	}
}

// TestJWT signs in with an identity that Vault holds against its issuer's published key, again when the token has had its longest life, with what stands in
// the file then; another's identity is refused by a message that says what to look at, and not what was given.
func TestJWT(t *testing.T) {
	t.Parallel()
	s, ours, theirs := vaulttest.Start(t), newIssuer(t), newIssuer(t)
	s.Enable("ci", "jwt")
	s.Write("auth/ci/config", map[string]any{"jwks_url": ours.URL})
	s.Policy("app", `path "secret/data/signin/*" { capabilities = ["read"] }`)
	s.Write("auth/ci/role/app", map[string]any{"role_type": "jwt", "bound_audiences": "vault", "bound_subject": "app", "user_claim": "sub",
		"token_policies": "app", "token_ttl": "2s", "token_max_ttl": "3s"})
	config := given(s)
	config.Auth = vault.Auth{Method: vault.JWT, Mount: "ci", Role: "app", JWTFile: write(t, ours.token(t, map[string]any{"sub": "app", "aud": "vault"})+"\n")}
	signedIn(t, s, config)
	for name, token := range map[string]string{
		"another issuer":   theirs.token(t, map[string]any{"sub": "app", "aud": "vault"}),
		"another audience": ours.token(t, map[string]any{"sub": "app", "aud": "else"}),
		"another subject":  ours.token(t, map[string]any{"sub": "else", "aud": "vault"}),
		"no token":         "hunter2-is-no-token",
	} {
		config.Auth.JWTFile = write(t, token)
		err := run(t, config).Ready(t.Context())
		if err == nil || !strings.Contains(err.Error(), `check role "app": bound_audiences`) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKubernetes signs in with a service account's token to Vault's own plugin, which asks a cluster's TokenReview about it. The cluster is a
// stand-in that knows one token (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
func TestKubernetes(t *testing.T) {
	t.Parallel()
	s, cluster := vaulttest.StartKubernetes(t), newIssuer(t)
	claims := func(account string) map[string]any {
		return map[string]any{"iss": "https://kubernetes.default.svc", "aud": []string{"vault"}, "sub": "system:serviceaccount:tenloom:" + account,
			"kubernetes.io": map[string]any{"namespace": "tenloom", "serviceaccount": map[string]any{"name": account, "uid": "0b1c"}}}
	}
	known, other := cluster.token(t, claims("server")), cluster.token(t, claims("else"))
	review := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Spec struct {
				Token     string
				Audiences []string
			}
		}
		if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&asked) != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if asked.Spec.Token != known {
			fmt.Fprint(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false,"error":"invalid bearer token"}}`)
			return
		}
		fmt.Fprint(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,"audiences":["vault"],
			"user":{"username":"system:serviceaccount:tenloom:server","uid":"0b1c","groups":["system:serviceaccounts","system:serviceaccounts:tenloom"]}}}`)
	}))
	t.Cleanup(review.Close)
	s.Write("auth/kubernetes/config", map[string]any{"kubernetes_host": review.URL, "token_reviewer_jwt": known, "disable_local_ca_jwt": true,
		"kubernetes_ca_cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: review.Certificate().Raw}))})
	s.Policy("app", `path "secret/data/signin/*" { capabilities = ["read"] }`)
	s.Write("auth/kubernetes/role/app", map[string]any{"bound_service_account_names": "server", "bound_service_account_namespaces": "tenloom", "audience": "vault",
		"token_policies": "app", "token_ttl": "2s", "token_max_ttl": "3s"})
	config := given(s)
	config.Auth = vault.Auth{Method: vault.Kubernetes, Role: "app", JWTFile: write(t, known)}
	signedIn(t, s, config)
	config.Auth.JWTFile = write(t, other)
	err := run(t, config).Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), `check that role "app" binds this service account`) || strings.Contains(err.Error(), other) {
		t.Errorf("%v", err)
	}
}

// TestMutualTLS talks to a listener that a private authority has certified, and that takes clients of another: not without the one, nor without
// the other.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	servers, clients := authority(t), authority(t)
	dir := t.TempDir()
	cert, key, err := servers.Server()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"cert.pem": cert, "key.pem": key}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := vaulttest.StartTLS(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), clients.File)
	s.Put("a", map[string]any{"value": "1"})
	config := given(s)
	config.CA = servers.PEM()
	if config.Cert, config.Key, err = clients.Client("tenloom", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	kv, err := run(t, config).KV(vault.KVConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := lookup(t, kv.For("", ""), "a"); v != "1" {
		t.Errorf("%q", v)
	}
	strange, foreign, unnamed := config, config, config
	strange.CA = clients.PEM()
	if foreign.Cert, foreign.Key, err = servers.Client("tenloom", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	unnamed.Cert, unnamed.Key = nil, nil
	for name, row := range map[string]struct {
		config vault.Config
		want   string
	}{"another authority": {strange, "vault.ca"}, "another client": {foreign, "client's certificate"}, "no client": {unnamed, "client's certificate"}} {
		if err := run(t, row.config).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", name, err, row.want)
		}
	}
}

func authority(t *testing.T) *redistest.CA {
	t.Helper()
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestNamespace has every request name the namespace, the sign-in among them. A proxy takes note of it and leaves it out, because the server
// behind it is not Enterprise and has none.
func TestNamespace(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	guarded(t, s)
	s.Role("acme", statement, time.Hour, time.Hour)
	s.Policy("app", `path "*" { capabilities = ["read", "update"] }`)
	role, secret := s.AppRole("app", time.Hour, time.Hour, "app")
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	named := map[string]string{} // by path
	forward := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		named[r.URL.Path] = r.Header.Get("X-Vault-Namespace")
		mu.Unlock()
		r.Header.Del("X-Vault-Namespace")
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	config := given(s)
	config.Address, config.Namespace = proxy.URL, "teams/acme"
	config.Auth = vault.Auth{Method: vault.AppRole, RoleID: role, SecretID: secrets.NewValue(secret)}
	c := run(t, config)
	k := c.Open(source(t, "database/creds/acme"), nil)
	if _, _, err := k.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Close()
	until(t, "the lease is revoked", func() bool { return len(s.Leases("database/creds/acme")) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/v1/auth/approle/login", "/v1/database/creds/acme", "/v1/sys/leases/revoke"} {
		if _, asked := named[path]; !asked {
			t.Errorf("%s was not asked for", path)
		}
	}
	for path, namespace := range named {
		if namespace != "teams/acme" {
			t.Errorf("%s names the namespace %q", path, namespace)
		}
	}
}
