package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func tokensCommand(g *globals) *cobra.Command {
	cmd := group(g, "tokens", "Credentials for programs",
		verb{use: "ls", short: "List the tokens; none shows its text", path: ofTenant("tokens"), list: &listing{columns: []column{
			{"ID", "id"}, {"NAME", "name"}, {"ROLE", "role"}, {"APP", "app"}, {"HINT", "hint"}, {"EXPIRES", "expires"}, {"LAST USED", "last_used"}}, key: "id"}},
		verb{use: "rm ID", short: "Revoke a token, at once and for good", low: 1, high: 1, method: http.MethodDelete, path: ofTenant("tokens"),
			done: func(args []string) string { return "The token " + args[0] + " opens nothing any more." }},
	)
	cmd.AddCommand(tokenCreateCommand(g))
	return cmd
}

func tokenCreateCommand(g *globals) *cobra.Command {
	var role, app, file string
	var scopes []string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a token and print it, this once", Args: wantArgs(1, 1),
		Example: "  tenloom tokens create ci --role deployer --only-app mailer --to ./token",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			in := map[string]any{"name": args[0], "role": role}
			if app != "" {
				in["app"] = app
			}
			if scopes != nil {
				in["scopes"] = scopes
			}
			if life != 0 {
				in["expires_in"] = life.String()
			}
			doc, _, err := c.call(cmd.Context(), http.MethodPost, c.of("tokens"), in)
			if err != nil {
				return err
			}
			var made struct {
				ID, Token string
				Expires   time.Time
			}
			if err := json.Unmarshal(doc, &made); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			g.hint(cmd, "Token %s is good until %s. It is shown this once.", made.ID, made.Expires.Local().Format("2006-01-02"))
			switch {
			case file != "":
				return writeSecret(file, made.Token+"\n")
			case s.isJSON():
				return s.json(doc)
			}
			return s.rows("", [][]string{{plain(made.Token)}})
		},
	}
	g.serverFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "deployer", "viewer, deployer or owner")
	flags.StringVar(&app, "only-app", "", "it is good for this application only")
	flags.StringArrayVar(&scopes, "scope", nil, `narrow what it may do: an action, "noun.*" or "*.read"`)
	flags.DurationVar(&life, "expires-in", 0, "how long it is good, such as 720h (default: 90 days)")
	flags.StringVar(&file, "to", "", "write it into a file that only you can read, in place of printing it")
	return cmd
}
