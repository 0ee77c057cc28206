package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// tokensPath is the path of the tenant's tokens, or of the operators'.
func tokensPath(operator *bool) func(*client, []string) (string, error) {
	return func(c *client, args []string) (string, error) {
		if !*operator {
			return c.of(append([]string{"tokens"}, args...)...), nil
		}
		path := "/v1/tokens"
		for _, one := range args {
			path += "/" + url.PathEscape(one)
		}
		return path, nil
	}
}

func tokensCommand(g *globals) *cobra.Command {
	operator := false
	flag := func(cmd *cobra.Command) { operatorFlag(cmd, &operator) }
	cmd := group(g, "tokens", "Credentials for programs",
		verb{use: "ls", short: "List the tokens; none shows its text", path: tokensPath(&operator), flags: flag, list: &listing{columns: []column{
			{"ID", "id"}, {"NAME", "name"}, {"ROLE", "role"}, {"APP", "app"}, {"HINT", "hint"}, {"EXPIRES", "expires"}, {"LAST USED", "last_used"}}, key: "id"}},
		verb{use: "rm ID", short: "Revoke a token, at once and for good", low: 1, high: 1, method: http.MethodDelete, path: tokensPath(&operator), flags: flag,
			done: func(args []string) string { return "The token " + args[0] + " opens nothing any more." }},
	)
	cmd.AddCommand(tokenCreateCommand(g))
	return cmd
}

func operatorFlag(cmd *cobra.Command, operator *bool) {
	cmd.Flags().BoolVar(operator, "operator", false, "of the platform's operators, in place of a tenant's")
}

func tokenCreateCommand(g *globals) *cobra.Command {
	operator := false
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
			in := map[string]any{"name": args[0]}
			if operator && (app != "" || cmd.Flags().Changed("role")) {
				return fail(exitUsage, "--operator goes with neither --role nor --only-app\n  --scope narrows what an operator's token may do")
			}
			if !operator {
				in["role"] = role
			}
			if app != "" {
				in["app"] = app
			}
			if scopes != nil {
				in["scopes"] = scopes
			}
			if life != 0 {
				in["expires_in"] = life.String()
			}
			path, err := tokensPath(&operator)(c, nil)
			if err != nil {
				return err
			}
			doc, _, err := c.call(cmd.Context(), http.MethodPost, path, in)
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
	operatorFlag(cmd, &operator)
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "deployer", "viewer, deployer or owner")
	flags.StringVar(&app, "only-app", "", "it is good for this application only")
	flags.StringArrayVar(&scopes, "scope", nil, `narrow what it may do: an action, "noun.*" or "*.read"`)
	flags.DurationVar(&life, "expires-in", 0, "how long it is good, such as 720h (default: 90 days)")
	flags.StringVar(&file, "to", "", "write it into a file that only you can read, in place of printing it")
	return cmd
}
