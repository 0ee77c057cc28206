package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// Bounds of one application. What is beyond is a fault of the component that takes it there.
const (
	maxModules = 256 << 20 // bytes of all modules, which are in memory together; one that several components name counts once
	maxFiles   = 1 << 30   // bytes of all mounted files, which are read to name the version
)

// reading takes in what a manifest names.
type reading struct {
	refusal
	name    identity
	modules modules
	files   int64 // left of maxFiles
}

// read takes in every module and the files beside it, and names the version after all of them and the manifest.
func read(ctx context.Context, v *Version, sys System) error {
	rd := reading{
		refusal: refusal{m: v.Manifest}, name: identity{sha256.New()}, files: maxFiles,
		modules: modules{dir: v.Manifest.Dir, limit: sys.MaxModule, left: maxModules, known: map[string]module{}},
	}
	if err := rd.name.manifest(*v.Manifest); err != nil {
		return err
	}
	for i := range v.Manifest.Components {
		if ctx.Err() != nil {
			break
		}
		c := v.Manifest.Components[i] // a copy: the manifest stays as it was read
		c.HostsGiven = c.HostsGiven || v.Manifest.SpinVersion != 1
		path := "component." + string(c.ID)
		code, err := rd.modules.of(&c)
		rd.fail(c.Line, path+".source", err)
		rd.name.part("module "+string(c.ID), code.digest[:])
		files, err := v.Manifest.Mount(&c)
		if err == nil {
			err = rd.mounted(ctx, &c, files)
		}
		rd.fail(c.Line, path+".files", err)
		if len(c.Files) == 0 {
			files = nil // a guest without files can be reset
		}
		v.Units = append(v.Units, Unit{Tenant: v.Tenant, App: v.App, Component: &c, Wasm: code.wasm, Files: files, Limits: limits(c.Tool, sys.Policy.Max)})
	}
	v.ID = rd.name.version()
	for i := range v.Units {
		v.Units[i].Version = v.ID
	}
	return rd.err(ctx)
}

// mounted takes the files that a component sees into the version's name.
func (rd *reading) mounted(ctx context.Context, c *manifest.Component, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if rd.files -= info.Size(); rd.files < 0 {
			return hintf("name fewer files", "with /%s the components' files have more than %s together", name, size(int64(maxFiles)))
		}
		f, err := files.Open(name)
		if err != nil {
			return hintf("make it readable, or leave it out with exclude_files", "%w", err)
		}
		defer f.Close()
		return rd.name.file("file "+string(c.ID)+" "+name, f, name, info.Size())
	})
}

// identity becomes a version's name: the SHA-256 of all parts, each headed by what it is and its length. Modules and files are taken by their
// own SHA-256, so that who knows these needs no more.
type identity struct{ hash.Hash }

func (id identity) part(what string, content []byte) {
	fmt.Fprintf(id, "%q %d\n", what, len(content))
	id.Write(content)
}

// manifest takes what a manifest says, as it is deployed, and not the text of its file: that may be another by now, and a profile may have
// changed what was read. Where the file lies does not count, so that the same application has the same version in every directory.
func (id identity) manifest(m manifest.Manifest) error {
	m.File, m.Dir, m.Warnings = "", "", nil
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("name version: %w", err)
	}
	id.part("manifest", text)
	return nil
}

// file takes a file that has the given size, or had it when it was mounted.
func (id identity) file(what string, f io.Reader, name string, size int64) error {
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, size+1))
	if err == nil && n != size {
		err = hintf("deploy again when it is complete", "changed while it was read")
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	id.part(what, sum.Sum(nil))
	return nil
}

func (id identity) version() tenants.VersionID {
	return tenants.VersionID("sha256:" + hex.EncodeToString(id.Sum(nil)))
}
