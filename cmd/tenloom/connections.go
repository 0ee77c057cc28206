package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func connectionsCommand(g *globals) *cobra.Command {
	cmd := group(g, "connections", "The tenant's own Redis servers",
		verb{use: "ls", short: "List the connections; none shows its login", path: ofTenant("connections"), list: &listing{columns: []column{{"NAME", "name"},
			{"ADDRESS", "address"}, {"LOGIN", "has_login"}, {"STATE", "status.state"}, {"USED BY", "status.used_by"}, {"CHANGED", "changed"}}, key: "name"}},
		verb{use: "show NAME", short: "Show a connection, how it stands, and which applications use it", low: 1, high: 1, path: ofTenant("connections")},
		verb{use: "test NAME", short: "Log in there, now, and tell what is there and which permissions are missing", low: 1, high: 1, method: http.MethodPost,
			path: withVerb("test", ofTenant("connections"))},
		verb{use: "rm NAME", short: "Remove a connection that no application uses", low: 1, high: 1, method: http.MethodDelete, path: ofTenant("connections"),
			done: func(args []string) string { return args[0] + " is gone." },
			sure: func(args []string) string { return fmt.Sprintf("Remove the connection %q?", args[0]) }},
	)
	cmd.AddCommand(connectionAddCommand(g))
	return cmd
}

func connectionAddCommand(g *globals) *cobra.Command {
	var user, ca, file string
	var password, fromVault bool
	var variables variableFlags
	cmd := &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Add a Redis server, or give one that is there another login", Args: wantArgs(0, 2),
		Long: `Add a Redis server of the tenant's own. Manifests and handlers name it as redis://NAME, in trigger addresses and in allowed_outbound_hosts; its
channels and keys are what they say, without a prefix.

The password is what stdin holds with --password; it never stands on the command line, is sealed, and is never shown. Adding one that is there
replaces its login: what is connected goes over to the new one without losing a message.

With --vault user and password come from the platform's Vault, where the operator keeps them for this tenant and this name, and follow what is there:
connections show tells how long they are valid, and what is missing where Vault denies them.

With -f FILE the connections are those of a component file of Dapr, bindings.redis and pubsub.redis. What its secretKeyRef names is a variable,
NAME_KEY, from --variable, --variables-file, --variables-dir or the environment, or stands in the store that the file itself has.`,
		Example: "  pass show redis | tenloom connections add cache rediss://redis.example.com:6380 --user app --password\n  tenloom connections test cache\n  tenloom connections add -f redis.yaml --variables-file secrets.env",
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" && len(args) < 2 {
				return g.addComponents(cmd, file, strings.Join(args, ""), variables)
			}
			if len(args) != 2 || file != "" {
				return fail(exitUsage, "want NAME ADDRESS, or -f FILE\n  tenloom connections add --help")
			}
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			in := map[string]any{"address": args[1], "username": user, "vault": fromVault}
			if fromVault && (user != "" || password) {
				return fail(exitUsage, "--vault: user and password come from Vault; leave --user and --password out")
			}
			if ca != "" {
				pem, err := os.ReadFile(ca)
				if err != nil {
					return fail(exitUsage, "read the authority: %w", err)
				}
				in["ca"] = string(pem)
			}
			if password {
				if in["password"], err = g.readSecret(cmd); err != nil {
					return err
				}
			}
			if _, _, err := c.call(cmd.Context(), http.MethodPut, c.of("connections", args[0]), in); err != nil {
				return err
			}
			g.hint(cmd, "Manifests name it as redis://%s. See what is there: tenloom connections test %s", args[0], args[0])
			return nil
		},
	}
	g.serverFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "who logs in (default: Redis' default user)")
	flags.BoolVar(&password, "password", false, "a password comes from stdin")
	flags.BoolVar(&fromVault, "vault", false, "user and password come from the platform's Vault")
	flags.StringVar(&ca, "ca", "", "PEM file of the authority that issued the server's certificate (default: the system's)")
	flags.StringVarP(&file, "file", "f", "", "component file of Dapr to take the connections from")
	variables.add(cmd)
	return cmd
}
