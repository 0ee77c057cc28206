package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/secrets"
)

// deployFlags are what "deploy" can be told.
type deployFlags struct {
	message   string
	canary    int
	noPromote bool
	dryRun    bool
	prune     bool
	build     bool
	from      string
	variables []string
	wait      waitFlags
	share     canaryFlags
}

func deployCommand(g *globals) *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use: "deploy [DIR]", Short: "Make a version of the application in a folder and give it the messages", Args: wantArgs(0, 1),
		Long: `Upload what the server does not have of the application in DIR (default: this folder), make a version of it, and give it the application's
messages. What is live goes on until the new version is warm and subscribed. The same content is the same version.

With --from oci://HOST/NAME@sha256:... the server takes it from a registry, where "spin registry push" or a tool for Wasm modules put it. A manifest in
DIR then takes the place of the image's own; an image of one module needs it.`,
		Example: "  tenloom deploy -m 'first cut'\n  tenloom deploy --canary 10 --wait 5m\n  tenloom deploy --from oci://ghcr.io/acme/mailer@sha256:9f2c...",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.canary < 0 || f.canary > 99 {
				return fail(exitUsage, "--canary %d: want a share of 1 to 99 %%", f.canary)
			}
			if f.canary == 0 && f.share != (canaryFlags{}) {
				return fail(exitUsage, "--affinity and --guard are for a canary\n  --canary 10 tries the version with a tenth of the messages")
			}
			if strings.HasPrefix(f.from, ociScheme) {
				return g.deployImage(cmd, strings.Join(args, ""), f)
			}
			if f.from != "" && len(args) > 0 {
				return fail(exitUsage, "--from %s and %s are two applications\n  name one of them", f.from, args[0])
			}
			return g.deploy(cmd, cmp.Or(strings.Join(args, ""), f.from, "."), f)
		},
	}
	g.appFlags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.message, "message", "m", "", "what is new")
	flags.IntVar(&f.canary, "canary", 0, "give it this share of the messages, in percent, and take it back where it fails more than 5 % in 2 minutes (--guard); with --wait 5m, look for so long, and end with 7 where it was taken back")
	flags.BoolVar(&f.noPromote, "no-promote", false, "make the version alone; \"promote\" gives it messages")
	flags.BoolVar(&f.dryRun, "dry-run", false, "tell what the server would say, and keep nothing but uploads")
	flags.BoolVar(&f.prune, "prune", false, "remove variables and secrets that the manifest no longer declares")
	flags.StringVarP(&f.from, "from", "f", "", "manifest, or folder of it, as \"spin deploy\" names it; or oci://HOST/NAME@sha256:... in a registry")
	flags.StringArrayVar(&f.variables, "variable", nil, "variable to set first: name=value, name=@file, @file.json or @file.toml")
	flags.BoolVar(&f.build, "build", false, "run the components' build commands first")
	f.wait.add(cmd)
	f.share.add(cmd)
	return cmd
}

// deployment is one run of "deploy".
type deployment struct {
	*client
	g        *globals
	cmd      *cobra.Command
	screen   screen
	flags    deployFlags
	manifest *manifest.Manifest
	began    time.Time
}

func (g *globals) deploy(cmd *cobra.Command, dir string, f deployFlags) error {
	s, err := g.screen(cmd)
	if err != nil {
		return err
	}
	m, err := loadManifest(dir)
	if err != nil {
		return err
	}
	if f.build {
		if err := build(cmd.Context(), m, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	c, err := g.client(cmd)
	if err != nil {
		return err
	}
	d := &deployment{client: c, g: g, cmd: cmd, screen: s, flags: f, manifest: m, began: time.Now()}
	if err := d.nameApp(m.Dir, m.Name); err != nil {
		return err
	}
	return d.run(cmd.Context())
}

// nameApp finds the application's name where neither a flag nor the environment says it: the folder's link, or another name.
func (d *deployment) nameApp(dir, name string) error {
	if d.g.app != "" || os.Getenv("TENLOOM_APP") != "" {
		return nil
	}
	link := target{}
	if dir != "" {
		var err error
		if link, err = readLink(dir); err != nil {
			return err
		}
	}
	d.app = cmp.Or(link.App, name)
	return nil
}

// step tells people one line of what was done. Programs get the end's document alone.
func (d *deployment) step(name, format string, args ...any) {
	if !d.screen.isJSON() {
		fmt.Fprintf(d.screen.w, "%-10s %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
}

func (d *deployment) run(ctx context.Context) error {
	app, err := d.ofApp()
	if err != nil {
		return err
	}
	in, err := d.parts(ctx, app)
	if err != nil {
		return err
	}
	if d.flags.dryRun {
		if _, _, err := d.callWith(ctx, apiRequest{method: http.MethodPost, path: app + "/versions?validate=only", timeout: imageTimeout}, in); err != nil {
			return err
		}
		d.step("Checked", "manifest, imports, limits, channels, variables; nothing was deployed")
		return nil
	}
	v, doc, err := d.makeVersion(ctx, app, in)
	if err != nil || d.flags.noPromote || d.flags.wait.none && v.State != "ready" {
		if err == nil && d.screen.isJSON() {
			return d.screen.json(doc)
		}
		return err
	}
	return d.golive(ctx, app, v)
}

// parts gets what the version is made of to where the server finds it, and returns the request that names it.
func (d *deployment) parts(ctx context.Context, app string) (map[string]any, error) {
	if strings.HasPrefix(d.flags.from, ociScheme) {
		if err := d.ready(ctx, app); err != nil {
			return nil, err
		}
		return d.imageRequest()
	}
	up, err := readUpload(d.manifest)
	if err != nil {
		return nil, err
	}
	if err := d.ready(ctx, app); err != nil {
		return nil, err
	}
	sent, err := d.upload(ctx, up)
	if err != nil {
		return nil, err
	}
	d.step("Built", "%s  %s  (uploaded %d of %d, %d already there)", d.app, size(up.bytes), sent, len(up.order), len(up.order)-sent)
	return up.request(d.flags.message), nil
}

// ready makes the application where it is not there, with the variables of the command line.
func (d *deployment) ready(ctx context.Context, app string) error {
	if _, _, err := d.call(ctx, http.MethodPut, app, nil); err != nil {
		return err
	}
	return d.setVariables(ctx)
}

// setVariables sets what the command line names. It stays set whatever becomes of the version.
func (d *deployment) setVariables(ctx context.Context) error {
	for _, text := range d.flags.variables {
		values, err := secrets.ParseFlag(text)
		if err != nil {
			return fail(exitUsage, "%w", err)
		}
		for _, name := range sortedKeys(values) {
			path, err := d.ofApp("variables", name)
			if err != nil {
				return err
			}
			if _, _, err := d.call(ctx, http.MethodPut, path, map[string]string{"value": values[name]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeVersion has the server verify and compile what was uploaded.
func (d *deployment) makeVersion(ctx context.Context, app string, in any) (v versionRecord, doc []byte, err error) {
	var made struct {
		Version   versionRecord `json:"version"`
		Unchanged bool          `json:"unchanged"`
	}
	if doc, err = d.flags.wait.begin(ctx, d.client, app+"/versions", in, nil, &made); err != nil {
		return v, nil, err
	}
	if v = made.Version; v.State != "ready" && !d.flags.wait.none {
		if v, err = d.version(ctx, fmt.Sprint(v.Number)); err != nil {
			return v, nil, err
		}
	}
	if d.flags.wait.none && v.State != "ready" {
		d.step("Begun", "v%d is %s", v.Number, v.State)
		return v, doc, nil
	}
	d.step("Checked", "manifest, imports, limits, channels, variables")
	switch {
	case made.Unchanged:
		d.step("Unchanged", "this is v%d", v.Number)
	default:
		d.step("Compiled", "%s", millis(float64(v.took("compiling", "ready"))/1e6))
	}
	return v, doc, nil
}

// took is the time between two of a version's steps.
func (v versionRecord) took(from, to string) time.Duration {
	var began time.Time
	for _, s := range v.Steps {
		if s.State == from {
			began = s.At
		}
		if s.State == to && !began.IsZero() {
			return s.At.Sub(began)
		}
	}
	return 0
}

// golive gives the version its messages.
func (d *deployment) golive(ctx context.Context, app string, v versionRecord) error {
	in := map[string]any{"version": v.Number}
	if d.flags.message != "" {
		in["reason"] = d.flags.message
	}
	if d.flags.canary > 0 {
		in["percent"] = d.flags.canary
		if err := d.flags.share.into(in); err != nil {
			return err
		}
	}
	var made deployed
	doc, err := d.flags.wait.begin(ctx, d.client, app+"/deployments", in, nil, &made)
	if err != nil {
		return err
	}
	if d.flags.wait.none {
		d.step("Begun", "%s/%s %s", d.tenant, d.app, made.Deployment.shares())
	} else {
		d.step("Live", "%s/%s %s  in %.1f s", d.tenant, d.app, made.Deployment.shares(), time.Since(d.began).Seconds())
	}
	if err := d.tellTriggers(ctx); err != nil {
		return err
	}
	if d.flags.prune {
		if err := d.prune(ctx); err != nil {
			return err
		}
	}
	if path := os.Getenv("GITHUB_OUTPUT"); path != "" && os.Getenv("GITHUB_ACTIONS") == "true" {
		open := func() (io.WriteCloser, error) { return os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644) }
		err := githubOutput(open, map[string]string{"version": fmt.Sprintf("v%d", v.Number), "url": d.server + d.of("apps", d.app)})
		if err != nil {
			return err
		}
	}
	if d.screen.isJSON() {
		if err := d.screen.json(doc); err != nil {
			return err
		}
		return d.g.guarded(d.cmd, d.client, d.flags.wait, made.Deployment)
	}
	if err := d.g.guarded(d.cmd, d.client, d.flags.wait, made.Deployment); err != nil {
		return err
	}
	d.g.hint(d.cmd, "Watch: %s logs -f -a %s    Undo: %s rollback -a %s", d.program, d.app, d.program, d.app)
	return nil
}

// tellTriggers shows what wakes the application now.
func (d *deployment) tellTriggers(ctx context.Context) error {
	if d.screen.isJSON() {
		return nil
	}
	l := listing{}
	if _, err := d.fetch(ctx, d.of("triggers"), 0, &l); err != nil {
		return err
	}
	for _, t := range l.rows {
		if t["app"] == d.app {
			line := fmt.Sprintf("  redis %s -> %s   %s %s", cell(t["target"]), cell(t["component"]), cell(t["state"]), cell(t["reason"]))
			fmt.Fprintln(d.screen.w, strings.TrimRight(line, " "))
		}
	}
	return nil
}

// prune removes what the manifest does not declare any more.
func (d *deployment) prune(ctx context.Context) error {
	declared := map[string]bool{}
	for _, v := range d.manifest.Variables {
		declared[v.Name] = true
	}
	for _, noun := range []string{"variables", "secrets"} {
		path, err := d.ofApp(noun)
		if err != nil {
			return err
		}
		l := listing{}
		if _, err := d.fetch(ctx, path, 0, &l); err != nil {
			return err
		}
		for _, row := range l.rows {
			name := cell(row["name"])
			if declared[name] {
				continue
			}
			one, err := d.ofApp(noun, name)
			if err != nil {
				return err
			}
			if _, _, err := d.call(ctx, http.MethodDelete, one, nil); err != nil {
				return err
			}
			d.step("Pruned", "%s of %s, which the manifest does not declare", name, noun)
		}
	}
	return nil
}

// gitOf is the commit that a folder is at; nil where it is in no repository, or git is not there.
func gitOf(dir string) map[string]any {
	run := func(args ...string) (string, bool) {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	sha, ok := run("rev-parse", "HEAD")
	if !ok {
		return nil
	}
	git := map[string]any{"sha": sha}
	if ref, ok := run("symbolic-ref", "-q", "HEAD"); ok {
		git["ref"] = ref
	}
	if changed, ok := run("status", "--porcelain", "--untracked-files=no"); ok && changed != "" {
		git["dirty"] = true
	}
	return git
}
