package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func appsCommand(g *globals) *cobra.Command {
	var reason string
	one := func(c *client, args []string) (string, error) {
		if len(args) == 1 {
			c.app = args[0]
		}
		return c.ofApp()
	}
	because := func(*cobra.Command, []string) (any, error) { return map[string]string{"reason": reason}, nil }
	cmd := group(g, "apps", "The tenant's applications",
		verb{use: "ls", short: "List the applications", path: ofTenant("apps"), list: &listing{columns: []column{{"NAME", "name"}, {"LAST VERSION", "last_version"},
			{"TRIGGERS", "status.triggers"}, {"ACTIVE", "status.active_triggers"}, {"PAUSED", "paused"}, {"CREATED", "created"}}, key: "name"}},
		verb{use: "show [NAME]", short: "Show an application and how it stands", high: 1, app: true, path: one},
		verb{use: "rm [NAME]", short: "Remove an application with its versions, variables and secrets", high: 1, app: true, method: http.MethodDelete, path: one,
			done: func([]string) string { return "The application is gone." },
			sure: func(args []string) string { return fmt.Sprintf("Remove the application%s?", named1(args)) }},
		verb{use: "pause [NAME]", short: "Take no more messages; what waits is handled", high: 1, app: true, method: http.MethodPost, path: withVerb("pause", one), body: because,
			flags: func(cmd *cobra.Command) { cmd.Flags().StringVar(&reason, "reason", "", "why") },
			done:  func([]string) string { return "The application is paused." }},
		verb{use: "resume [NAME]", short: "Take messages again", high: 1, app: true, method: http.MethodPost, path: withVerb("resume", one),
			done: func([]string) string { return "The application takes messages." }},
	)
	cmd.AddCommand(appLinkCommand(g))
	return cmd
}

func named1(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q", args[0])
}

func appLinkCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "link [NAME]", Short: "Link this folder to an application, in " + linkFile, Args: wantArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				c.app = args[0]
			}
			path, err := c.ofApp()
			if err != nil {
				return err
			}
			if _, _, err := c.call(cmd.Context(), http.MethodGet, path, nil); err != nil {
				return err
			}
			if err := writeLink(".", target{Server: c.server, Tenant: c.tenant, App: c.app}); err != nil {
				return fmt.Errorf("link the folder: %w", err)
			}
			g.hint(cmd, "This folder is %s/%s at %s. Do not commit %s.", c.tenant, c.app, c.server, linkFile)
			return nil
		},
	}
	g.appFlags(cmd)
	return cmd
}

func triggersCommand(g *globals) *cobra.Command {
	return group(g, "triggers", "What wakes the tenant's components",
		verb{use: "ls", short: "List the triggers and how their subscriptions stand", path: ofTenant("triggers"), list: &listing{columns: []column{{"APP", "app"},
			{"ID", "id"}, {"KIND", "kind"}, {"TARGET", "target"}, {"COMPONENT", "component"}, {"STATE", "state"}, {"REASON", "reason"}, {"BREAKER", "breaker"}, {"QUEUED", "queued"}, {"SPILLED", "spilled"}}, key: "id"}},
		verb{use: "pause ID", short: "Unsubscribe one trigger", low: 1, high: 1, app: true, method: http.MethodPost, path: withVerb("pause", ofApp("triggers")),
			done: func(args []string) string { return "The trigger " + args[0] + " is paused." }},
		verb{use: "resume ID", short: "Subscribe it again", low: 1, high: 1, app: true, method: http.MethodPost, path: withVerb("resume", ofApp("triggers")),
			done: func(args []string) string { return "The trigger " + args[0] + " is subscribed." }},
	)
}

func channelsCommand(g *globals) *cobra.Command {
	return verb{use: "channels", short: "List the channels and patterns that the tenant's handlers listen to", path: ofTenant("channels"), list: &listing{
		columns: []column{{"KIND", "kind"}, {"TARGET", "target"}, {"REDIS", "endpoint"}, {"HANDLERS", "handlers"}}, key: "target"}}.command(g)
}
