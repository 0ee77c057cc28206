package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants"
)

// invokeFlags are what "invoke" can be told.
type invokeFlags struct {
	dir, data, channel string
	redis              redisFlags
	variables          variableFlags
	compiling          compileFlags
}

func invokeCommand(g *globals) *cobra.Command {
	f := &invokeFlags{}
	cmd := &cobra.Command{
		Use:   "invoke COMPONENT",
		Short: "Run one handler on one payload, without Redis",
		Long: `Run one handler of the application in --dir on one payload, print what it prints, and end 0 when it answered ok, 1 otherwise.

With --json it prints a document instead: outcome, error, output, duration, memory and fuel.

No trigger is subscribed. A handler that calls Redis meets an empty one that lives as long as the command, or the one of --redis.`,
		Example: "  tenloom invoke greet -d '{\"name\":\"Ada\"}'\n  tenloom invoke mailer -d @order.json --variable key=secret",
		Args:    wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return invoke(cmd, g, args[0], *f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", ".", "folder of the application")
	flags.StringVarP(&f.data, "data", "d", "", "payload: text, @file, or - for standard input")
	flags.StringVar(&f.channel, "channel", "invoke", "what the handler is told as its channel (tenloom_channel)")
	f.redis.add(cmd, "Redis that the handler's calls go to")
	f.variables.add(cmd)
	f.compiling.add(cmd)
	return cmd
}

func invoke(cmd *cobra.Command, g *globals, component string, f invokeFlags) error {
	out, err := g.screen(cmd)
	if err != nil {
		return err
	}
	payload, err := readData(cmd.InOrStdin(), f.data)
	if err != nil {
		return err
	}
	m, err := loadManifest(f.dir)
	if err != nil {
		return err
	}
	if err := only(m, component); err != nil {
		return err
	}
	p, closePlatform, err := localPlatform(cmd, g, m, f.redis, f.variables, f.compiling)
	if err != nil {
		return err
	}
	defer closePlatform()
	if _, err := deploy.Load(cmd.Context(), tenants.Demo, m, p.system()); err != nil {
		return &exitError{exitDeploy, err}
	}
	began := time.Now()
	r := p.loaded[tenants.ComponentID(component)].component.Invoke(cmd.Context(), sandbox.Call{
		Payload: payload, Attributes: invoked{channel: f.channel}, KeepOutput: 1 << 20,
	})
	took := time.Since(began)
	if out.isJSON() {
		return printInvoked(out, r, took, component)
	}
	if _, err := cmd.OutOrStdout().Write(r.Output); err != nil {
		return err
	}
	g.hint(cmd, "%s in %s, %s of memory, %d units of fuel", r.Outcome, millis(float64(took.Microseconds())/1000), size(int64(r.Memory)), r.Fuel)
	if r.Err != nil {
		return fail(exitFailed, "%s: %s", component, named(r.Err, tenants.ComponentID(component)))
	}
	return nil
}

// printInvoked prints the document of "invoke --json"; its names are those of the API's invocations.
func printInvoked(out screen, r sandbox.Result, took time.Duration, component string) error {
	doc := struct {
		Component string          `json:"component"`
		Outcome   tenants.Outcome `json:"outcome"`
		Error     string          `json:"error,omitempty"`
		RanMS     float64         `json:"duration_ms"`
		Memory    uint64          `json:"memory_bytes"`
		Fuel      uint64          `json:"fuel"`
		Output    string          `json:"output"`
		Truncated int64           `json:"truncated,omitempty"`
	}{
		Component: component, Outcome: r.Outcome, RanMS: float64(took.Microseconds()) / 1000, Memory: r.Memory, Fuel: r.Fuel,
		Output: strings.ToValidUTF8(string(r.Output), "\uFFFD"), Truncated: r.Truncated,
	}
	if r.Err != nil {
		doc.Error = named(r.Err, tenants.ComponentID(component))
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	if err := out.json(text); err != nil || r.Err == nil {
		return err
	}
	return &exitError{code: exitFailed}
}

// invoked answers what a guest asks about a message that Redis did not send.
type invoked struct{ channel string }

func (i invoked) Attribute(name string) (string, bool) {
	switch name {
	case "tenloom_channel":
		return i.channel, true
	case "tenloom_attempt":
		return "1", true
	case "tenloom_pattern", "tenloom_message_id", "tenloom_traceparent":
		return "", true
	}
	return "", false
}

// only leaves one component in a manifest, so that the others need not be built.
func only(m *manifest.Manifest, component string) error {
	var names []string
	for _, c := range m.Components {
		if string(c.ID) == component {
			m.Components = []manifest.Component{c}
			return nil
		}
		names = append(names, string(c.ID))
	}
	return fail(exitNotFound, "%s has no component %q%s\n  it has %s", m.File, component, didYouMean(component, names), strings.Join(names, ", "))
}

func readData(in io.Reader, data string) ([]byte, error) {
	var payload []byte
	var err error
	switch {
	case data == "-":
		payload, err = io.ReadAll(io.LimitReader(in, maxData+1))
	case strings.HasPrefix(data, "@"):
		payload, err = os.ReadFile(data[1:])
	default:
		payload = []byte(data)
	}
	if err != nil {
		return nil, fail(exitUsage, "read payload: %w", err)
	}
	if len(payload) > maxData {
		return nil, fail(exitUsage, "the payload is larger than %s", size(maxData))
	}
	return payload, nil
}

const maxData = 64 << 20 // bytes of a payload given by hand

// localPlatform is a platform for commands that run guests in this process without subscribing to anything. Compiled code is kept beside
// the application where "up" has made a place for it.
func localPlatform(cmd *cobra.Command, g *globals, m *manifest.Manifest, redis redisFlags, variables variableFlags, compiling compileFlags) (*platform, func(), error) {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level(g)}))
	given, stopProviders, err := variables.providers(log)
	if err != nil {
		return nil, nil, err
	}
	main, stopRedis, err := mainRedis(redis, "127.0.0.1:0")
	if err != nil {
		stopProviders()
		return nil, nil, err
	}
	cache := filepath.Join(m.Dir, ".tenloom", "cache")
	if _, err := os.Stat(cache); errors.Is(err, os.ErrNotExist) {
		cache = ""
	}
	p, err := newPlatform(cmd.Context(), platformConfig{manifest: m, redis: main, variables: given, compiling: compiling, cacheDir: cache, log: log})
	if err != nil {
		stopRedis()
		stopProviders()
		return nil, nil, err
	}
	return p, func() {
		if err := p.close(context.Background()); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "Warning:", err)
		}
		stopRedis()
		stopProviders()
	}, nil
}
