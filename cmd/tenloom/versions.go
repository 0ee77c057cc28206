package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// versionRecord and deploymentRecord are what the API shows of the two.
type versionRecord struct {
	Number     int               `json:"number"`
	Digest     string            `json:"digest"`
	Manifest   string            `json:"manifest"`
	Components map[string]string `json:"components"`
	Bytes      int64             `json:"bytes"`
	State      string            `json:"state"`
	Steps      []stepRecord      `json:"steps"`
}

type stepRecord struct {
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
}

type deploymentRecord struct {
	ID      string `json:"id"`
	Weights []struct {
		Version int `json:"version"`
		Percent int `json:"percent"`
	} `json:"weights"`
	State   string       `json:"state"`
	Reason  string       `json:"reason"`
	Created time.Time    `json:"created"`
	Steps   []stepRecord `json:"steps"`
}

// shares is "v2 10 %, v1 90 %".
func (d deploymentRecord) shares() string {
	var parts []string
	for _, w := range d.Weights {
		parts = append(parts, fmt.Sprintf("v%d %d %%", w.Version, w.Percent))
	}
	return strings.Join(parts, ", ")
}

func versionsCommand(g *globals) *cobra.Command {
	return group(g, "versions", "The application's versions: code and configuration that do not change",
		verb{use: "ls", short: "List the versions", app: true, path: ofApp("versions"), list: &listing{columns: []column{{"VERSION", "number"}, {"STATE", "state"},
			{"BYTES", "bytes"}, {"CREATED", "created"}, {"BY", "created_by"}, {"MESSAGE", "message"}, {"DIGEST", "digest"}}, key: "number"}},
		verb{use: "show VERSION", short: "Show a version, by number, id or digest", low: 1, high: 1, app: true, path: ofApp("versions")},
		verb{use: "rm VERSION", short: "Remove a version that takes no messages", low: 1, high: 1, app: true, method: http.MethodDelete, path: ofApp("versions"),
			done: func(args []string) string { return "Version " + args[0] + " is gone." }},
	)
}

func deploymentsCommand(g *globals) *cobra.Command {
	return group(g, "deployments", "Which versions took the application's messages, and when",
		verb{use: "ls", short: "List the deployments", app: true, path: ofApp("deployments"), list: &listing{columns: []column{{"ID", "id"}, {"STATE", "state"},
			{"WEIGHTS", "weights"}, {"CREATED", "created"}, {"BY", "actor"}, {"REASON", "reason"}}, key: "id"}},
		verb{use: "show [ID]", short: "Show a deployment; by default the newest", high: 1, app: true, path: func(c *client, args []string) (string, error) {
			if len(args) == 0 {
				args = []string{"current"}
			}
			return c.ofApp("deployments", args[0])
		}},
		verb{use: "cancel ID", short: "Stop a deployment that has not switched yet", low: 1, high: 1, app: true, method: http.MethodPost,
			path: withVerb("cancel", ofApp("deployments")), done: func(args []string) string { return "The deployment " + args[0] + " is cancelled." }},
	)
}

// waitFlags say how long a command waits for what it began.
type waitFlags struct {
	wait    time.Duration
	none    bool
	timeout time.Duration // of one request; default callTimeout
}

func (f *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.wait, "wait", time.Minute, "how long to wait for its end; after that the command ends with 8")
	cmd.Flags().BoolVar(&f.none, "no-wait", false, "do not wait")
}

// operationPatience is how long one request waits for an operation; what lasts longer is asked for again.
const operationPatience = 20 * time.Second

// begin posts something that goes on as an operation and waits for its end. made says what it came to: the same document with the operation's
// end in it. Still pending after the wait is exitPending.
func (f waitFlags) begin(ctx context.Context, c *client, path string, in any, header map[string]string, made any) (doc []byte, err error) {
	r := apiRequest{method: http.MethodPost, path: path, header: map[string]string{}, timeout: f.timeout}
	for name, value := range header {
		r.header[name] = value
	}
	wait := min(f.wait, operationPatience)
	if !f.none && wait >= time.Second {
		r.header["Prefer"] = "wait=" + strconv.Itoa(int(wait.Seconds()))
	}
	began := time.Now()
	doc, _, err = c.callWith(ctx, r, in)
	if err != nil {
		return nil, err
	}
	var begun struct {
		Operation string `json:"operation"`
	}
	if err := errors.Join(json.Unmarshal(doc, &begun), json.Unmarshal(doc, made)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if f.none || begun.Operation == "" {
		return doc, nil
	}
	return doc, c.await(ctx, begun.Operation, began.Add(f.wait))
}

// await looks at an operation until it has ended, or until a time.
func (c *client) await(ctx context.Context, id string, until time.Time) error {
	for {
		doc, _, err := c.call(ctx, http.MethodGet, "/v1/operations/"+id, nil)
		if err != nil {
			return err
		}
		var o struct {
			State   string          `json:"state"`
			Problem json.RawMessage `json:"problem"`
		}
		if err := json.Unmarshal(doc, &o); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		switch o.State {
		case "done":
			return nil
		case "running":
		default:
			p := &problem{Status: http.StatusInternalServerError, Detail: "the operation " + o.State}
			if o.Problem != nil {
				if err := json.Unmarshal(o.Problem, p); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
			}
			return &exitError{cmp.Or(p.codeExit(), exitDeploy), p}
		}
		if time.Now().After(until) {
			return fail(exitPending, "it goes on: operation %s\n  \"%s api GET /v1/operations/%s\" shows how it stands", id, c.program, id)
		}
		if err := pauseUntil(ctx, time.Now().Add(200*time.Millisecond)); err != nil {
			return err
		}
	}
}

// version reads one of the application's versions.
func (c *client) version(ctx context.Context, ref string) (v versionRecord, err error) {
	path, err := c.ofApp("versions", ref)
	if err != nil {
		return v, err
	}
	return v, c.read(ctx, path, &v)
}

// current is the newest deployment; ok is false where there is none.
func (c *client) current(ctx context.Context) (d deploymentRecord, ok bool, err error) {
	path, err := c.ofApp("deployments", "current")
	if err != nil {
		return d, false, err
	}
	err = c.read(ctx, path, &d)
	var refused *problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return d, false, nil
	}
	return d, err == nil, err
}

// read decodes what the API shows at a path.
func (c *client) read(ctx context.Context, path string, into any) error {
	doc, _, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
