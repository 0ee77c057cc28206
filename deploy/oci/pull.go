package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/tenloom/tenloom/tenants"
)

// Media types of the two layouts.
const (
	spinConfig  = "application/vnd.fermyon.spin.application.v1+config"
	spinWasm    = "application/vnd.wasm.content.layer.v1+wasm"
	spinData    = "application/vnd.wasm.content.layer.v1+data"
	spinArchive = "application/vnd.wasm.content.bundle.v1.tar+gzip"
	cncfConfig  = "application/vnd.wasm.config.v0+json"
	wasm        = "application/wasm"
)

// Bounds of what is read of a registry beside the layers.
const (
	maxDocument = 4 << 20 // bytes of a manifest, and of a configuration
	maxLayers   = 500     // as Spin makes at most
)

// DefaultTimeout is how long one pull may take.
const DefaultTimeout = 2 * time.Minute

// Puller takes applications from registries.
type Puller struct {
	Registries []string      // host or host:port of those that may be named; none: none
	Client     *http.Client  // default: http.DefaultClient
	Timeout    time.Duration // of one pull; default DefaultTimeout
	// Credentials is a file such as docker's config.json, with its "auths", "credHelpers" and "credsStore"; it is read at each pull. A registry
	// that it does not name, and each where it is "", is read as nobody. What may be read with them, every caller may read who knows a digest.
	Credentials string
	// Put stores what has a digest and at most so many bytes.
	Put func(ctx context.Context, digest string, from io.Reader, most int64) (int64, error)
}

// App is what a reference leads to, its modules and files stored.
type App struct {
	Manifest   string                                    // text of a spin.toml; "" in the CNCF layout
	Module     string                                    // in the CNCF layout: digest of its only component
	Components map[tenants.ComponentID]string            // digest of each one's module
	Files      map[tenants.ComponentID]map[string]string // path as the guest sees it -> digest
}

// Error is why a reference cannot be used.
type Error struct {
	Problem string // a sentence without its full stop
	Next    string
	cause   error
}

func (e *Error) Error() string    { return e.Problem }
func (e *Error) NextStep() string { return e.Next }
func (e *Error) Unwrap() error    { return e.cause }

func problem(next, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{err.Error(), next, errors.Unwrap(err)}
}

// Pull reads what a reference such as ghcr.io/acme/mailer@sha256:... leads to, of at most so many bytes. What is wrong with the reference or
// with what is there is an *Error.
func (p *Puller) Pull(ctx context.Context, reference string, most int64) (App, error) {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f, err := p.open(reference, most)
	if err != nil {
		return App{}, err
	}
	return f.app(ctx)
}

// fetch is one pull.
type fetch struct {
	puller *Puller
	from   *remote.Repository
	digest string
	left   int64 // bytes
	layers map[string]ocispec.Descriptor
	stored map[string]bool
}

func (p *Puller) open(reference string, most int64) (*fetch, error) {
	r, err := registry.ParseReference(reference)
	if err != nil {
		return nil, problem("write host/name@sha256:...", "%.200q is no reference: %w", reference, err)
	}
	if tenants.CheckDigest(r.Reference) != nil {
		return nil, problem("pin it: "+r.Registry+"/"+r.Repository+"@sha256:...", "%.200q is not pinned by a SHA-256 digest", reference)
	}
	if !slices.Contains(p.Registries, r.Registry) {
		next := "ask the operator to allow it, or upload the components"
		if len(p.Registries) > 0 {
			next = "use one of " + strings.Join(p.Registries, ", ") + ", or upload the components"
		}
		return nil, problem(next, "registry %s is not allowed here", r.Registry)
	}
	client := p.Client
	if client == nil {
		client = http.DefaultClient
	}
	login := &auth.Client{Client: client, Cache: auth.NewCache(), Header: http.Header{"User-Agent": {"tenloom"}}}
	if p.Credentials != "" {
		kept, err := credentials.NewStore(p.Credentials, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("read credentials of registries: %w", err)
		}
		login.Credential = credentials.Credential(kept)
	}
	from := &remote.Repository{
		Client:    login,
		Reference: r, PlainHTTP: loopback(r.Registry), MaxMetadataBytes: maxDocument,
	}
	return &fetch{puller: p, from: from, digest: r.Reference, left: most, layers: map[string]ocispec.Descriptor{}, stored: map[string]bool{}}, nil
}

// loopback tells whether a registry is on this machine, where none has a certificate.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (f *fetch) app(ctx context.Context) (App, error) {
	var m ocispec.Manifest
	at, err := f.from.Resolve(ctx, f.digest)
	if err != nil {
		return App{}, unreachable(f.from.Reference.String(), err)
	}
	if err := f.document(ctx, at, f.from, &m); err != nil {
		return App{}, err
	}
	if len(m.Layers) > maxLayers {
		return App{}, problem("make a smaller application", "it has %d layers, at most %d are read", len(m.Layers), maxLayers)
	}
	for _, l := range m.Layers {
		f.layers[string(l.Digest)] = l
	}
	switch m.Config.MediaType {
	case spinConfig:
		return f.spin(ctx, m)
	case cncfConfig:
		return f.cncf(ctx, m)
	}
	return App{}, problem("push it with spin registry push, or with a tool for Wasm modules such as wkg", "its configuration is of type %.100q, which is no Wasm application", m.Config.MediaType)
}

// cncf reads the layout of one component.
func (f *fetch) cncf(ctx context.Context, m ocispec.Manifest) (App, error) {
	if len(m.Layers) != 1 || m.Layers[0].MediaType != wasm {
		return App{}, problem("push one module", "it has %d layers where one of type %s is wanted", len(m.Layers), wasm)
	}
	digest := string(m.Layers[0].Digest)
	return App{Module: digest}, f.store(ctx, digest, wasm)
}

// unreachable says why a registry did not give something.
func unreachable(what string, err error) error {
	var answer *errcode.ErrorResponse
	refused := errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden)
	if refused || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return problem("make it public, ask the operator for a login there, or upload the components", "the registry does not let tenloom read %s", what)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return problem("look at the name and the digest; what is private cannot be read from here", "%s is not there", what)
	}
	return problem("try again, or upload the components", "the registry did not give %s: %w", what, err)
}

// fetcher is a repository's manifests, or its blobs.
type fetcher interface {
	Fetch(ctx context.Context, target ocispec.Descriptor) (io.ReadCloser, error)
}

// document reads a JSON document and verifies it.
func (f *fetch) document(ctx context.Context, at ocispec.Descriptor, from fetcher, into any) error {
	if at.Size > maxDocument {
		return problem("", "a document of it has %d bytes, at most %d are read", at.Size, maxDocument)
	}
	r, err := from.Fetch(ctx, at)
	if err != nil {
		return unreachable(string(at.Digest), err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return unreachable(string(at.Digest), err)
	}
	if len(b) > maxDocument || at.Digest.Algorithm().FromBytes(b) != at.Digest {
		return problem("push it again", "what the registry gives for %s is something else", at.Digest)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return problem("push it again", "%s cannot be read: %w", at.Digest, err)
	}
	return nil
}

// store keeps a layer of one of some types.
func (f *fetch) store(ctx context.Context, digest string, types ...string) error {
	at, there := f.layers[digest]
	switch {
	case !there:
		return problem("push it again", "it names %.80q, which is none of its layers", digest)
	case tenants.CheckDigest(digest) != nil:
		return problem("push it again", "a layer is named by %.80q, which is no SHA-256 digest", digest)
	case !slices.Contains(types, at.MediaType):
		return problem("push it again", "layer %s is of type %.100q, not %s", digest, at.MediaType, types[0])
	case f.stored[digest]:
		return nil
	case at.Size > f.left:
		return problem("make it smaller, or ask the operator for more", "with layer %s it is larger than what is allowed", digest)
	}
	r, err := f.from.Blobs().Fetch(ctx, at)
	if err != nil {
		return unreachable("layer "+digest, err)
	}
	defer r.Close()
	n, err := f.puller.Put(ctx, digest, r, at.Size)
	if err != nil {
		return fmt.Errorf("store layer %s: %w", digest, err)
	}
	f.left -= n
	f.stored[digest] = true
	return nil
}
