package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// canaryFlags say how two versions share an application's messages.
type canaryFlags struct {
	affinity string
	guard    string
}

func (f *canaryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.affinity, "affinity", "", "canary: field of a JSON payload, or a JSON pointer into it, whose value keeps to one version")
	cmd.Flags().StringVar(&f.guard, "guard", "", `canary: when to take its messages back: errors=5%,window=2m,least=20 and slower=2 (times the other version), in part; "none" never`)
}

// into writes the flags into the body of a deployment that two versions share.
func (f canaryFlags) into(in map[string]any) error {
	if f.affinity != "" {
		in["affinity"] = f.affinity
	}
	if f.guard == "none" {
		return nil
	}
	guard := map[string]any{}
	for one := range strings.SplitSeq(f.guard, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		name, text, _ := strings.Cut(one, "=")
		value, err := guardValue(name, text)
		if err != nil {
			return fail(exitUsage, "--guard %s: %w\n  such as --guard errors=5%%,window=2m,least=20,slower=2", one, err)
		}
		guard[name] = value
	}
	in["guard"] = guard
	return nil
}

func guardValue(name, text string) (any, error) {
	switch name {
	case "errors":
		number, percent := strings.CutSuffix(text, "%")
		share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a share such as 5%% or 0.05", text)
		}
		if percent {
			share /= 100
		}
		return share, nil
	case "slower":
		times, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number such as 2", text)
		}
		return times, nil
	case "least":
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case "window":
		if _, err := time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("%q is not a duration such as 2m", text)
		}
		return text, nil
	}
	known := []string{"errors", "slower", "least", "window"}
	return nil, fmt.Errorf("%q is not one of %s%s", name, strings.Join(known, ", "), didYouMean(name, known))
}

// guardEvery is how often a canary is looked at.
const guardEvery = 500 * time.Millisecond

// passes tells an error that another try may not meet: the server is away or busy for a moment.
func passes(err error) bool {
	var refused *problem
	if errors.As(err, &refused) {
		return refused.Status == http.StatusTooManyRequests || refused.Status >= 500
	}
	var away *unreachableError
	return errors.As(err, &away)
}

// watchGuard looks at a canary until a time and returns how it stands then: nil where it still takes its share or somebody decided otherwise, and
// exitDeploy where its guard took it back.
func (c *client) watchGuard(ctx context.Context, id string, until time.Time) (d deploymentRecord, err error) {
	path, err := c.ofApp("deployments", id)
	if err != nil {
		return d, err
	}
	began := time.Now()
	for {
		err := c.read(ctx, path, &d)
		switch {
		case err != nil && (!passes(err) || !time.Now().Before(until)):
			return d, err
		case err != nil: // look again
		case d.State == "rolled_back":
			why := ""
			if n := len(d.Steps); n > 0 {
				why = ": " + plain(d.Steps[n-1].Detail)
			}
			return d, fail(exitDeploy, "rolled back after %.0f s%s\n  \"%s logs -a %s --version v%d --level error\" shows what it printed",
				time.Since(began).Seconds(), why, c.program, c.app, d.Weights[0].Version)
		case d.State != "live" || !time.Now().Before(until):
			return d, nil
		}
		if err := pauseUntil(ctx, time.Now().Add(min(guardEvery, time.Until(until)))); err != nil {
			return d, err
		}
	}
}

// guarded watches a canary where the command was told how long to wait, and says on stderr what came of it.
func (g *globals) guarded(cmd *cobra.Command, c *client, wait waitFlags, made deploymentRecord) error {
	if len(made.Weights) != 2 || wait.none || !cmd.Flags().Changed("wait") {
		return nil
	}
	g.hint(cmd, "Watching the guard for %v; what is live stays so when you stop looking.", wait.wait)
	d, err := c.watchGuard(cmd.Context(), made.ID, time.Now().Add(wait.wait))
	switch {
	case err != nil:
		return err
	case d.State == "live":
		g.hint(cmd, "The guard found nothing. \"%s promote -a %s\" gives v%d all messages.", c.program, c.app, d.Weights[0].Version)
	default:
		g.hint(cmd, "The deployment is %s by now.", d.State)
	}
	return nil
}
