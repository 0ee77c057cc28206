package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// upload is what a version is made of, by digest.
type upload struct {
	dir        string
	text       string                       // of the manifest
	components map[string]string            // digest of each one's module
	files      map[string]map[string]string // of each file that a component sees
	artifacts  map[string]artifactSource
	order      []string // digests, each once
	bytes      int64
}

// artifactSource opens a module or a file again to send it.
type artifactSource struct {
	open func() (io.ReadCloser, error)
	size int64
}

// readUpload reads an application's modules and files once, for their digests.
func readUpload(m *manifest.Manifest) (*upload, error) {
	text, err := os.ReadFile(m.File)
	if err != nil {
		return nil, fail(exitUsage, "read manifest: %w", err)
	}
	u := &upload{dir: m.Dir, text: string(text), components: map[string]string{}, files: map[string]map[string]string{}, artifacts: map[string]artifactSource{}}
	for i := range m.Components {
		if err := u.component(m, &m.Components[i]); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func (u *upload) component(m *manifest.Manifest, c *manifest.Component) error {
	if c.Source.Path == "" {
		return fail(exitUsage, "%s:%d: component.%s.source: it is not a file\n  download the module and name its file", m.File, c.Source.Line, c.ID)
	}
	path := filepath.Join(m.Dir, filepath.FromSlash(c.Source.Path))
	digest, err := u.add(func() (io.ReadCloser, error) { return os.Open(path) })
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitUsage, "%s:%d: component.%s.source: %w\n  build it first: \"deploy --build\" runs the component's build command", m.File, c.Source.Line, c.ID, err)
	}
	if err != nil {
		return fail(exitUsage, "%s:%d: component.%s.source: %w", m.File, c.Source.Line, c.ID, err)
	}
	u.components[string(c.ID)] = digest
	mounted, err := m.Mount(c)
	if err != nil || mounted == nil {
		return usageError(err)
	}
	files := map[string]string{}
	err = fs.WalkDir(mounted, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		digest, err := u.add(func() (io.ReadCloser, error) { return mounted.Open(path) })
		files[path] = digest
		return err
	})
	if err != nil {
		return fail(exitUsage, "read the files of component %s: %w", c.ID, err)
	}
	if len(files) > 0 {
		u.files[string(c.ID)] = files
	}
	return nil
}

func usageError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

// add reads an artifact for its digest.
func (u *upload) add(open func() (io.ReadCloser, error)) (string, error) {
	f, err := open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return "", err
	}
	digest := fmt.Sprintf("sha256:%x", sum.Sum(nil))
	if _, there := u.artifacts[digest]; !there {
		u.artifacts[digest] = artifactSource{open, n}
		u.order = append(u.order, digest)
		u.bytes += n
	}
	return digest, nil
}

// request is the body of POST versions.
func (u *upload) request(message string) map[string]any {
	in := map[string]any{"manifest": u.text, "components": u.components}
	if len(u.files) > 0 {
		in["files"] = u.files
	}
	if message != "" {
		in["message"] = message
	}
	if git := gitOf(u.dir); git != nil {
		in["git"] = git
	}
	return in
}

const (
	uploadsAtOnce = 4
	uploadTimeout = 10 * time.Minute // of one artifact
)

// upload sends what the server does not have and returns how many that were.
func (d *deployment) upload(ctx context.Context, u *upload) (sent int, err error) {
	was := make([]bool, len(u.order))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(uploadsAtOnce)
	for i, digest := range u.order {
		work.Go(func() error {
			var err error
			was[i], err = d.send1(ctx, digest, u.artifacts[digest])
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return 0, err
	}
	return len(slices.DeleteFunc(was, func(sent bool) bool { return !sent })), nil
}

// send1 sends one artifact unless it is there.
func (d *deployment) send1(ctx context.Context, digest string, from artifactSource) (sent bool, err error) {
	path, err := d.ofApp("blobs", digest)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, uploadTimeout, fmt.Errorf("not uploaded within %v", uploadTimeout))
	defer cancel()
	resp, err := d.send(ctx, apiRequest{method: http.MethodHead, path: path})
	if err == nil {
		return false, resp.Body.Close()
	}
	var refused *problem
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		return false, err
	}
	f, err := from.open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	resp, err = d.send(ctx, apiRequest{method: http.MethodPut, path: path, body: f, kind: "application/octet-stream", size: from.size})
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}
