package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func varsCommand(g *globals) *cobra.Command {
	cmd := group(g, "vars", "The application's variables",
		verb{use: "ls", short: "List the variables and their values", app: true, path: ofApp("variables"),
			list: &listing{columns: []column{{"NAME", "name"}, {"VALUE", "value"}, {"CHANGED", "changed"}, {"BY", "changed_by"}}, key: "name"}},
		verb{use: "rm NAME", short: "Remove a variable; the manifest's default counts again", low: 1, high: 1, app: true, method: http.MethodDelete, path: ofApp("variables"),
			done: func(args []string) string { return args[0] + " is gone." }},
	)
	cmd.AddCommand(varsSetCommand(g))
	return cmd
}

func varsSetCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME=VALUE...", Short: "Set variables; handlers see them at their next message", Args: wantArgs(1, -1),
		Example: "  tenloom vars set smtp_host=mail.example.com greeting='Hello, '",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			for _, arg := range args { // before the first is set
				if name, _, ok := strings.Cut(arg, "="); !ok || name == "" {
					return fail(exitUsage, "%q is not NAME=VALUE", arg)
				}
			}
			for _, arg := range args {
				name, value, _ := strings.Cut(arg, "=")
				path, err := c.ofApp("variables", name)
				if err != nil {
					return err
				}
				if _, _, err := c.call(cmd.Context(), http.MethodPut, path, map[string]string{"value": value}); err != nil {
					return err
				}
				g.hint(cmd, "%s is set.", name)
			}
			return nil
		},
	}
	g.appFlags(cmd)
	return cmd
}

func secretsCommand(g *globals) *cobra.Command {
	cmd := group(g, "secrets", "The application's secrets, which nobody sees again",
		verb{use: "ls", short: "List the names of the secrets", app: true, path: ofApp("secrets"),
			list: &listing{columns: []column{{"NAME", "name"}, {"VERSION", "version"}, {"CHANGED", "changed"}, {"BY", "changed_by"}}, key: "name"}},
		verb{use: "rm NAME", short: "Remove a secret", low: 1, high: 1, app: true, method: http.MethodDelete, path: ofApp("secrets"),
			done: func(args []string) string { return args[0] + " is gone." }},
	)
	cmd.AddCommand(secretSetCommand(g))
	return cmd
}

func secretSetCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set a secret; its value comes from stdin", Args: wantArgs(1, 1),
		Long:    "Set a secret. Its value is what stdin holds, without the end of its last line; it never stands on the command line.",
		Example: "  pass show smtp | tenloom secrets set smtp_password",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			path, err := c.ofApp("secrets", args[0])
			if err != nil {
				return err
			}
			value, err := g.readSecret(cmd)
			if err != nil {
				return err
			}
			if _, _, err := c.call(cmd.Context(), http.MethodPut, path, map[string]string{"value": value}); err != nil {
				return err
			}
			g.hint(cmd, "%s is set.", args[0])
			return nil
		},
	}
	g.appFlags(cmd)
	return cmd
}

func (g *globals) readSecret(cmd *cobra.Command) (string, error) {
	if stdin, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(stdin.Fd())) {
		if g.noInput {
			return "", fail(exitUsage, "the value comes from stdin, which is a terminal")
		}
		fmt.Fprint(cmd.ErrOrStderr(), "Value: ")
		typed, err := term.ReadPassword(int(stdin.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(typed), err
	}
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the value: %w", err)
	case len(text) > maxSecret:
		return "", fail(exitUsage, "the value is larger than %s", size(maxSecret))
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return "", fail(exitUsage, "stdin holds no value\n  usage: %s", cmd.UseLine())
	}
	return value, nil
}
