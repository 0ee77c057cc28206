package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// bannerFacts are where things are.
type bannerFacts struct {
	api       net.Addr
	redis     *endpoint.Options
	embedded  bool
	app       application
	ephemeral bool
	sent      string // to collectors
}

func banner(out io.Writer, g *globals, b bannerFacts) {
	state := "State: " + b.app.state + " (--ephemeral forgets it)"
	if b.ephemeral {
		state = "Nothing is kept."
	}
	redis := "--redis"
	if b.embedded {
		redis = "embedded; redis-cli works (--redis URL to use yours)"
	}
	fmt.Fprintf(out, "tenloom dev (%s). Nothing else is needed. %s\n\n", shortVersion(), state)
	fmt.Fprintf(out, "  API    http://%s/v1\n", b.api)
	fmt.Fprintf(out, "  Redis  %-28s %s\n", b.redis, redis)
	fmt.Fprintf(out, "  Logs   %s\n", b.app.logs)
	fmt.Fprintf(out, "  Runs   the last, over restarts too   GET /v1/tenants/%s/invocations\n", tenants.Demo)
	if b.sent != "" {
		fmt.Fprintf(out, "  OTLP   %s\n", b.sent)
	}
	fmt.Fprintln(out)
}

func shortVersion() string {
	v := buildVersion()
	if v.Commit == "unknown" {
		return strings.Trim(v.Version, "()")
	}
	return v.Commit[:min(len(v.Commit), 7)]
}

func printTriggers(out io.Writer, triggers []scheduler.TriggerState, began time.Time) {
	app := ""
	width := 0
	for _, t := range triggers {
		width = max(width, len(t.Target.Name))
	}
	for _, t := range triggers {
		name := string(t.Tenant) + "/" + string(t.App)
		if name == app {
			name = fmt.Sprintf("%*s", len(name), "")
		} else {
			app = name
		}
		state := t.State.String()
		if t.State == scheduler.Active {
			state = "ready " + millis(float64(t.Since.Sub(began).Microseconds())/1000)
		}
		if t.Target.Kind != tenants.Exact {
			state += " (" + t.Target.Kind.String() + ")"
		}
		if t.Reason != "" {
			state += ": " + t.Reason
		}
		fmt.Fprintf(out, "  %s  %-*s -> %s  %s\n", name, width, t.Target.Name, t.Component, state)
	}
	fmt.Fprintf(out, "\nready in %s\n\n", millis(float64(time.Since(began).Microseconds())/1000))
}

func printNext(out io.Writer, g *globals, v *deploy.Version) {
	channel, payload := "greetings", `'{"name":"Ada"}'`
	if v.App != "hello" && len(v.Triggers) > 0 {
		channel, payload = v.Triggers[0].Target.Name, "hello"
	}
	fmt.Fprintf(out, "Try:   %s publish %s %s\n", g.program, channel, payload)
	fmt.Fprintf(out, "Stop:  Ctrl-C waits %v for running handlers; again to force\n", drainTimeout)
}
