package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// MaxManifest is the size of a manifest's text above which it is refused: 256 KiB.
const MaxManifest = 256 << 10

// VersionSource is what a version is made of. Everything but the manifest is an artifact that was uploaded before.
type VersionSource struct {
	Manifest   string                                    // text of spin.toml; its "source" and "files" say nothing here but that there are some
	Components map[tenants.ComponentID]string            // digest of each component's module
	Files      map[tenants.ComponentID]map[string]string // path as the guest sees it -> digest, of each component whose manifest has "files"
	OCI        string                                    // reference pinned by digest, that all of this comes from; a Manifest given with it takes the place of its own
	Message    string                                    // at most 1,000 bytes
	Git        *tenants.Git
}

// pull fills a source from the registry that it names.
func (c *Controller) pull(ctx context.Context, p tenants.Policy, s VersionSource) (VersionSource, error) {
	if s.OCI == "" {
		return s, nil
	}
	if c.config.Pull == nil {
		return s, problemf(NotPulled, "upload the components", "applications are not taken from registries here")
	}
	if len(s.Components)+len(s.Files) > 0 {
		return s, problemf(InvalidVersion, "give one of them", "a version comes from a registry or from what was uploaded, not from both")
	}
	app, err := c.config.Pull(ctx, s.OCI, p.Grants.AppBytes)
	if err != nil {
		if next(err) == "" {
			return s, err
		}
		return s, problemf(NotPulled, next(err), "take %.200q: %w", s.OCI, err)
	}
	s.Components, s.Files = app.Components, app.Files
	if s.Manifest == "" {
		s.Manifest = app.Manifest
	}
	if app.Module != "" {
		return s, s.only(app.Module)
	}
	return s, nil
}

// only gives the one component of the manifest its module.
func (s *VersionSource) only(module string) error {
	if s.Manifest == "" {
		return problemf(InvalidVersion, "send spin.toml with the reference", "the image holds a module and no manifest")
	}
	if len(s.Manifest) > MaxManifest {
		return nil // draft says so
	}
	m, err := manifest.Parse(manifest.FileName, []byte(s.Manifest))
	if err != nil {
		return problemOf(err)
	}
	if len(m.Components) != 1 {
		return problemf(InvalidVersion, "push the application with spin registry push", "the image holds one module, the manifest has %d components", len(m.Components))
	}
	s.Components = map[tenants.ComponentID]string{m.Components[0].ID: module}
	return nil
}

// File is one file that a component sees.
type File struct {
	Path   string `json:"path"` // slash-separated, relative to the guest's root
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Bounds of a component's files, as manifest.Mount has them.
const (
	maxFileCount = 10_000
	maxFilePath  = 1024
	maxFileList  = 16 << 20 // bytes of the list of files, encoded
)

// draft is a source whose parts are there and fit together.
type draft struct {
	source   VersionSource
	manifest *manifest.Manifest
	files    map[tenants.ComponentID][]byte // lists of files, encoded
	id       tenants.VersionID
	bytes    int64
}

// checking gathers what is wrong with a source.
type checking struct {
	c       *Controller
	faults  tenants.Faults
	missing bool             // some artifact is
	sizes   map[string]int64 // by digest: each counts once
}

func (k *checking) add(code, detail string, keys ...string) {
	if len(k.faults) == maxFaults {
		return
	}
	var b strings.Builder
	for _, key := range keys {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	k.faults = append(k.faults, tenants.Fault{Pointer: b.String(), Code: code, Detail: detail})
}

// artifact looks for one by its digest and gives its size.
func (k *checking) artifact(ctx context.Context, digest string, keys ...string) (int64, error) {
	if err := tenants.CheckDigest(digest); err != nil {
		k.add("invalid", err.Error(), keys...)
		return 0, nil
	}
	if n, known := k.sizes[digest]; known {
		return n, nil
	}
	info, err := k.c.config.Artifacts.Stat(ctx, digest)
	if errors.Is(err, artifact.ErrNotFound) {
		k.missing = true
		k.add("missing", digest+" was not uploaded", keys...)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	k.sizes[digest] = info.Size
	return info.Size, nil
}

// draft reads a source and looks whether its parts are there, without opening them.
func (c *Controller) draft(ctx context.Context, p tenants.Policy, s VersionSource) (*draft, error) {
	if len(s.Manifest) > MaxManifest {
		return nil, &Problem{Code: TooLarge, Detail: fmt.Sprintf("the manifest has %s, at most %s are read", size(int64(len(s.Manifest))), size(int64(MaxManifest))),
			Next: "leave out what is not this app's", Limit: MaxManifest}
	}
	m, err := manifest.Parse(manifest.FileName, []byte(s.Manifest))
	if err != nil {
		return nil, problemOf(err)
	}
	d := &draft{source: s, manifest: m, files: map[tenants.ComponentID][]byte{}}
	k := &checking{c: c, sizes: map[string]int64{}}
	name := identity{sha256.New()}
	if err := name.manifest(*m); err != nil {
		return nil, err
	}
	known := map[tenants.ComponentID]bool{}
	for i := range m.Components {
		known[m.Components[i].ID] = true
		if err := k.component(ctx, d, &m.Components[i], name); err != nil {
			return nil, err
		}
	}
	k.strangers(s, known)
	d.id = name.version()
	d.bytes = int64(len(s.Manifest))
	for _, n := range k.sizes {
		d.bytes += n
	}
	if most := p.Grants.AppBytes; d.bytes > most && len(k.faults) == 0 {
		return nil, &Problem{Code: TooLarge, Detail: fmt.Sprintf("the version has %s, at most %s are allowed", size(d.bytes), size(most)),
			Next: "strip debug information, or ask the operator for more", Limit: most}
	}
	return d, k.problem()
}

func (k *checking) problem() error {
	switch {
	case len(k.faults) == 0:
		return nil
	case k.missing:
		return &Problem{Code: ArtifactMissing, Detail: "not everything that the version names is there", Next: "upload what is missing, then ask again", Faults: k.faults}
	}
	return &Problem{Code: InvalidVersion, Detail: "the version's parts do not fit together", Next: "mend what the errors name", Faults: k.faults}
}

// strangers are parts of components that the manifest does not have.
func (k *checking) strangers(s VersionSource, known map[tenants.ComponentID]bool) {
	for _, id := range slices.Sorted(maps.Keys(s.Components)) {
		if !known[id] {
			k.add("invalid", "the manifest has no such component", "components", string(id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Files)) {
		if !known[id] {
			k.add("invalid", "the manifest has no such component", "files", string(id))
		}
	}
}

// component checks one component's parts and takes them into the version's name.
func (k *checking) component(ctx context.Context, d *draft, c *manifest.Component, name identity) error {
	digest, given := d.source.Components[c.ID]
	if !given {
		k.missing = true
		k.add("missing", "the component's module is not named", "components", string(c.ID))
		return nil
	}
	if _, err := k.artifact(ctx, digest, "components", string(c.ID)); err != nil {
		return err
	}
	if sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:")); err == nil {
		name.part("module "+string(c.ID), sum)
	}
	files := d.source.Files[c.ID]
	switch {
	case len(c.Files) == 0 && len(files) > 0:
		k.add("invalid", "the manifest gives the component no files", "files", string(c.ID))
	case len(c.Files) > 0 && files == nil:
		k.add("missing", "the manifest gives the component files, and none are named; name them as the guest sees them, or none as {}", "files", string(c.ID))
	case len(files) > maxFileCount:
		k.add("too_many", fmt.Sprintf("%d files, at most %d are mounted", len(files), maxFileCount), "files", string(c.ID))
	case len(files) > 0:
		return k.files(ctx, d, c.ID, files, name)
	}
	return nil
}

// files checks the paths and artifacts of a component's files and makes their list.
func (k *checking) files(ctx context.Context, d *draft, id tenants.ComponentID, files map[string]string, name identity) error {
	paths := slices.Sorted(maps.Keys(files))
	list := make([]File, 0, len(paths))
	for _, path := range paths {
		at := []string{"files", string(id), path}
		if why := badPath(path, files); why != "" {
			k.add("invalid", why, at...)
			continue
		}
		n, err := k.artifact(ctx, files[path], at...)
		if err != nil {
			return err
		}
		list = append(list, File{path, files[path], n})
		if sum, err := hex.DecodeString(strings.TrimPrefix(files[path], "sha256:")); err == nil {
			name.part("file "+string(id)+" "+path, sum)
		}
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	if len(encoded) > maxFileList {
		k.add("too_large", "their names are too long together", "files", string(id))
	}
	d.files[id] = encoded
	return nil
}

// badPath tells why a path cannot be one of a component's files, or "". Nothing outside of the component's folder can be meant by one that can.
func badPath(path string, all map[string]string) string {
	switch {
	case len(path) > maxFilePath:
		return fmt.Sprintf("the path has %d bytes, at most %d are allowed", len(path), maxFilePath)
	case path == "." || !fs.ValidPath(path):
		return "the path is not relative, slash-separated and free of . and .."
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "the path holds a character that no file's name should have"
	}
	if _, err := filepath.Localize(path); err != nil {
		return "the path cannot be a file's on the server"
	}
	for dir := path; ; {
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return ""
		}
		dir = dir[:i]
		if _, taken := all[dir]; taken {
			return fmt.Sprintf("%q is a file, not a folder", dir)
		}
	}
}

// version is the record of a draft, with its own parts stored: the manifest's text and the lists of files.
func (d *draft) version(ctx context.Context, c *Controller) (v tenants.Version, err error) {
	v = tenants.Version{Digest: d.id, Components: d.source.Components, Message: d.source.Message, Git: d.source.Git, Bytes: d.bytes}
	if v.Manifest, err = c.keep(ctx, []byte(d.source.Manifest)); err != nil {
		return v, err
	}
	for id, list := range d.files {
		digest, err := c.keep(ctx, list)
		if err != nil {
			return v, err
		}
		if v.Files == nil {
			v.Files = map[tenants.ComponentID]string{}
		}
		v.Files[id] = digest
	}
	return v, nil
}

// keep stores an artifact that the Controller made.
func (c *Controller) keep(ctx context.Context, content []byte) (string, error) {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	if _, err := c.config.Artifacts.Put(ctx, digest, bytes.NewReader(content), int64(len(content))); err != nil {
		return "", err
	}
	return digest, nil
}
