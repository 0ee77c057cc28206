package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// recent keeps the artifacts that were read last, so that apps of one module read it once. What is beyond its bound is forgotten, the oldest
// first.
type recent struct {
	flight singleflight.Group

	mu    sync.Mutex
	bytes int64
	order []string // digests, the oldest first
	all   map[string][]byte
}

// maxRecent bounds the bytes of recent; an artifact that is larger alone is not kept.
const maxRecent = 32 << 20

func (r *recent) read(ctx context.Context, from *artifact.Store, digest string, most int64) ([]byte, error) {
	r.mu.Lock()
	have, ok := r.all[digest]
	r.mu.Unlock()
	if ok && int64(len(have)) <= most {
		return have, nil
	}
	b, err, _ := r.flight.Do(digest, func() (any, error) {
		b, err := from.Read(context.WithoutCancel(ctx), digest, most)
		if err == nil {
			r.keep(digest, b)
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	return b.([]byte), ctx.Err()
}

func (r *recent) keep(digest string, b []byte) {
	if len(b) > maxRecent {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string][]byte{}
	}
	if _, there := r.all[digest]; there {
		return
	}
	r.all[digest] = b
	r.order = append(r.order, digest)
	for r.bytes += int64(len(b)); r.bytes > maxRecent; {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.bytes -= int64(len(r.all[oldest]))
		delete(r.all, oldest)
	}
}

// manifestOf reads a version's manifest.
func (c *Controller) manifestOf(ctx context.Context, v *tenants.Version) (*manifest.Manifest, error) {
	text, err := c.recent.read(ctx, c.config.Artifacts, v.Manifest, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return manifest.Parse(manifest.FileName, text)
}

// fetch gives a version's units their modules and files.
func (c *Controller) fetch(ctx context.Context, v *loaded, of *tenants.Version, sys System) error {
	r := refusal{m: v.Manifest}
	for i := range v.Manifest.Components {
		one := v.Manifest.Components[i]
		one.HostsGiven = one.HostsGiven || v.Manifest.SpinVersion != 1
		if sys.Live && sys.Policy.FreshOnly {
			one.Tool.Isolation = manifest.Fresh
		}
		u := Unit{Tenant: v.Tenant, App: v.App, Version: v.ID, Component: &one, Digest: of.Components[one.ID], Limits: limits(one.Tool, sys.Policy.Max)}
		if sys.Live {
			u.Limits = least(u.Limits, sys.Policy.Max)
		}
		var err error
		if u.Wasm, err = c.recent.read(ctx, c.config.Artifacts, u.Digest, sys.MaxModule); err != nil {
			if !spoiled(err) {
				return err
			}
			r.fail(one.Line, "component."+string(one.ID)+".source", hintf("upload it again; a module has at most "+size(sys.MaxModule), "%w", err))
		}
		if list, ok := of.Files[one.ID]; ok {
			if u.Files, err = c.mount(ctx, list); err != nil {
				if !spoiled(err) {
					return err
				}
				r.fail(one.Line, "component."+string(one.ID)+".files", hintf("upload them again", "%w", err))
			}
		}
		v.Units = append(v.Units, u)
	}
	return r.err(ctx)
}

// spoiled tells whether an error is about what was uploaded, and not about the place that it is kept in.
func spoiled(err error) bool {
	return errors.Is(err, artifact.ErrNotFound) || errors.Is(err, artifact.ErrDamaged) || errors.Is(err, artifact.ErrTooLarge)
}

// mount gives the files of a list, which are written to a folder once. The folder appears whole or not at all.
func (c *Controller) mount(ctx context.Context, list string) (fs.FS, error) {
	dir := filepath.Join(c.config.Dir, strings.TrimPrefix(list, "sha256:"))
	if _, err := os.Stat(dir); err == nil {
		return os.DirFS(dir), nil
	}
	files, err := c.filesOf(ctx, list)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("write files: %w", err)
	}
	work, err := os.MkdirTemp(c.config.Dir, "writing-")
	if err != nil {
		return nil, fmt.Errorf("write files: %w", err)
	}
	defer os.RemoveAll(work)
	root, err := os.OpenRoot(work)
	if err != nil {
		return nil, fmt.Errorf("write files: %w", err)
	}
	defer root.Close()
	for _, f := range files {
		if err := c.extract(ctx, root, f); err != nil {
			return nil, fmt.Errorf("write /%s: %w", f.Path, err)
		}
	}
	if err := os.Rename(work, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(dir); there != nil { // somebody else was first otherwise
			return nil, fmt.Errorf("write files: %w", err)
		}
	}
	return os.DirFS(dir), nil
}

// extract writes one file. The root keeps it within the folder, whatever the list says.
func (c *Controller) extract(ctx context.Context, root *os.Root, f File) error {
	name, err := filepath.Localize(f.Path)
	if err != nil {
		return err
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	from, err := c.config.Artifacts.Get(ctx, f.Digest)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// filesOf reads a list of files.
func (c *Controller) filesOf(ctx context.Context, list string) (files []File, err error) {
	encoded, err := c.recent.read(ctx, c.config.Artifacts, list, maxFileList)
	if err == nil {
		err = json.Unmarshal(encoded, &files)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of files: %w", err)
	}
	return files, nil
}
