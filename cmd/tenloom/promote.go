package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// deployed is the answer to a deployment.
type deployed struct {
	Deployment deploymentRecord `json:"deployment"`
	Operation  string           `json:"operation"`
}

func promoteCommand(g *globals) *cobra.Command {
	var percent int
	var reason string
	var wait waitFlags
	var share canaryFlags
	cmd := &cobra.Command{
		Use: "promote [VERSION]", Short: "Give a version the application's messages", Args: wantArgs(0, 1),
		Long:    "Give a version the application's messages: VERSION, or the canary that is tried, or the newest version.",
		Example: "  tenloom promote --percent 50\n  tenloom promote v7",
		RunE: func(cmd *cobra.Command, args []string) error {
			if percent < 1 || percent > 100 {
				return fail(exitUsage, "--percent %d: want 1 to 100", percent)
			}
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			version := ""
			if len(args) == 1 {
				version = args[0]
			} else if version, err = c.candidate(cmd.Context()); err != nil {
				return err
			}
			in := map[string]any{"version": version}
			if percent < 100 {
				in["percent"] = percent
				if err := share.into(in); err != nil {
					return err
				}
			} else if share != (canaryFlags{}) {
				return fail(exitUsage, "--affinity and --guard are for a canary\n  --percent 10 gives it a tenth of the messages")
			}
			if reason != "" {
				in["reason"] = reason
			}
			return g.deployAs(cmd, s, c, wait, in)
		},
	}
	g.appFlags(cmd)
	wait.add(cmd)
	share.add(cmd)
	cmd.Flags().IntVar(&percent, "percent", 100, "share of the messages; the version that has most of them keeps the rest")
	cmd.Flags().StringVarP(&reason, "message", "m", "", "why")
	return cmd
}

// candidate is the version that is tried, or the newest one.
func (c *client) candidate(ctx context.Context) (string, error) {
	d, ok, err := c.current(ctx)
	if err != nil {
		return "", err
	}
	if ok && len(d.Weights) == 2 && d.State == "live" {
		return fmt.Sprint(d.Weights[0].Version), nil
	}
	path, err := c.ofApp("versions")
	if err != nil {
		return "", err
	}
	l := listing{}
	if _, err := c.fetch(ctx, path, 1, &l); err != nil {
		return "", err
	}
	if len(l.rows) == 0 {
		return "", fail(exitNotFound, "%s has no versions yet\n  \"%s deploy\" makes one", c.app, c.program)
	}
	return cell(l.rows[0]["number"]), nil
}

// deployAs makes a deployment and tells how it went.
func (g *globals) deployAs(cmd *cobra.Command, s screen, c *client, wait waitFlags, in map[string]any) error {
	path, err := c.ofApp("deployments")
	if err != nil {
		return err
	}
	var made deployed
	doc, err := wait.begin(cmd.Context(), c, path, in, nil, &made)
	if err != nil {
		return err
	}
	state := "Live"
	if wait.none {
		state = "Begun"
	}
	if s.isJSON() {
		err = s.json(doc)
	} else {
		err = s.rows("", [][]string{{state, made.Deployment.shares()}})
	}
	if err != nil {
		return err
	}
	return g.guarded(cmd, c, wait, made.Deployment)
}

func rollbackCommand(g *globals) *cobra.Command {
	var with, yes bool
	var reason string
	var wait waitFlags
	cmd := &cobra.Command{
		Use: "rollback [VERSION]", Short: "Give the application's messages back to the version before", Args: wantArgs(0, 1),
		Long: `Give the application's messages back to a version that had them: VERSION, or the last one before what is live. Variables and secrets stay as they
are; where some have changed since, their names are shown and you are asked, or say --with-variables.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			r := rollbackRequest{Rollback: map[string]string{}, Reason: reason}
			if len(args) == 1 {
				r.Rollback["to"] = args[0]
			}
			if err := c.announce(cmd, r.Rollback["to"]); err != nil {
				return err
			}
			if !yes {
				if err := g.confirm(cmd, "Continue?"); err != nil {
					return err
				}
			}
			return rollback(cmd, g, s, c, wait, r, with)
		},
	}
	g.appFlags(cmd)
	wait.add(cmd)
	cmd.Flags().BoolVar(&with, "with-variables", false, "go back with variables and secrets as they are now, whatever has changed")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVarP(&reason, "message", "m", "", "why")
	return cmd
}

type rollbackRequest struct {
	Rollback map[string]string `json:"rollback"`
	Accept   []string          `json:"accept,omitempty"`
	Reason   string            `json:"reason,omitempty"`
}

// announce says from where to where a rollback goes.
func (c *client) announce(cmd *cobra.Command, to string) error {
	now, ok, err := c.current(cmd.Context())
	if err != nil {
		return err
	}
	if !ok || len(now.Weights) == 0 {
		return fail(exitNotFound, "%s was never deployed\n  \"%s deploy\" does so", c.app, c.program)
	}
	if to == "" {
		if to, err = c.before(cmd.Context(), now); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s -> %s\n", c.app, now.shares(), plain(to))
	return nil
}

// before is the version that had all messages before a deployment, as the server will find it.
func (c *client) before(ctx context.Context, now deploymentRecord) (string, error) {
	path, err := c.ofApp("deployments")
	if err != nil {
		return "", err
	}
	l := listing{}
	if _, err := c.fetch(ctx, path, 100, &l); err != nil {
		return "", err
	}
	for _, doc := range l.docs {
		var d deploymentRecord
		if err := json.Unmarshal(doc, &d); err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		whole := len(d.Weights) == 1 && d.State == "superseded"
		if whole && d.Weights[0].Version != now.Weights[0].Version {
			return fmt.Sprintf("v%d (since %s)", d.Weights[0].Version, d.Created.Local().Format("2006-01-02 15:04")), nil
		}
	}
	return "the version before", nil
}

func rollback(cmd *cobra.Command, g *globals, s screen, c *client, wait waitFlags, r rollbackRequest, with bool) error {
	path, err := c.ofApp("deployments")
	if err != nil {
		return err
	}
	for {
		var made deployed
		doc, err := wait.begin(cmd.Context(), c, path, r, nil, &made)
		var refused *problem
		if errors.As(err, &refused) && refused.Code == "config_changed" && r.Accept == nil && len(refused.Names) > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "Changed since, and NOT rolled back: %s\n", plain(strings.Join(refused.Names, ", ")))
			if !with {
				if g.noInput {
					return err
				}
				if g.confirm(cmd, "Continue with them as they are now?") != nil {
					return err
				}
			}
			r.Accept = slices.Clone(refused.Names)
			continue
		}
		if err != nil {
			return err
		}
		if s.isJSON() {
			return s.json(doc)
		}
		return s.rows("", [][]string{{"Live", made.Deployment.shares()}})
	}
}

// githubOutput hands values to the steps that follow in GitHub Actions.
func githubOutput(open func() (io.WriteCloser, error), values map[string]string) error {
	f, err := open()
	if err != nil {
		return fmt.Errorf("write GITHUB_OUTPUT: %w", err)
	}
	for _, name := range sortedKeys(values) {
		fmt.Fprintf(f, "%s=%s\n", name, values[name])
	}
	return f.Close()
}
