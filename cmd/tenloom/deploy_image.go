package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/tenants"
)

// ociScheme begins what --from names in a registry.
const ociScheme = "oci://"

// pinned is a reference that means the same tomorrow.
var pinned = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)

// imageTimeout is how long the server may take for a pull and its answer.
const imageTimeout = oci.DefaultTimeout + callTimeout

// deployImage deploys what is in a registry. dir is a folder whose manifest takes the place of the image's; "" has the image's own.
func (g *globals) deployImage(cmd *cobra.Command, dir string, f deployFlags) error {
	image := strings.TrimPrefix(f.from, ociScheme)
	switch {
	case !pinned.MatchString(image):
		return fail(exitUsage, "--from %s is not pinned by a digest: a tag may be something else tomorrow\n  want %sHOST/NAME@sha256:...", f.from, ociScheme)
	case f.build:
		return fail(exitUsage, "--build and --from %s exclude each other\n  what is in a registry is built", f.from)
	case f.prune && dir == "":
		return fail(exitUsage, "--prune takes the manifest, which is in the registry\n  name the folder of it: deploy DIR --from %s --prune", f.from)
	}
	s, err := g.screen(cmd)
	if err != nil {
		return err
	}
	c, err := g.client(cmd)
	if err != nil {
		return err
	}
	f.wait.timeout = imageTimeout
	d := &deployment{client: c, g: g, cmd: cmd, screen: s, flags: f, began: time.Now()}
	name := ""
	if dir != "" {
		if d.manifest, err = loadManifest(dir); err != nil {
			return err
		}
		name = d.manifest.Name
	}
	if err := d.nameApp(dir, cmp.Or(name, imageName(image))); err != nil {
		return err
	}
	return d.run(cmd.Context())
}

// imageName is the last part of an image's name, where that can be an application's; else "".
func imageName(image string) string {
	name, _, _ := strings.Cut(image, "@")
	name, _, _ = strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	if tenants.CheckName(name) != nil {
		return ""
	}
	return name
}

// imageRequest is the body of POST versions for an image.
func (d *deployment) imageRequest() (map[string]any, error) {
	in := map[string]any{"source": map[string]string{"oci": strings.TrimPrefix(d.flags.from, ociScheme)}}
	if d.manifest != nil {
		text, err := os.ReadFile(d.manifest.File)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		in["manifest"] = string(text)
	}
	if d.flags.message != "" {
		in["message"] = d.flags.message
	}
	return in, nil
}
