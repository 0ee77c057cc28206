package main

import (
	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants"
)

func contextCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "context", Short: "Choose the server and tenant to work with"}
	cmd.AddCommand(contextListCommand(g), contextAddCommand(g), contextUseCommand(g), contextRemoveCommand(g))
	return parent(cmd)
}

func contextListCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the contexts; the current one is marked", Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			screen, err := g.screen(cmd)
			if err != nil {
				return err
			}
			s, err := openContexts()
			if err != nil {
				return err
			}
			l := listing{columns: []column{{"", "mark"}, {"NAME", "name"}, {"SERVER", "server"}, {"TENANT", "tenant"}, {"SIGNED IN", "signed_in"}}, key: "name"}
			for _, name := range s.names() {
				t, err := s.find(name)
				if err != nil {
					return err
				}
				mark := ""
				if name == s.current() {
					mark = "*"
				}
				l.add(map[string]any{"mark": mark, "name": name, "current": mark != "", "server": t.Server, "tenant": t.Tenant, "signed_in": t.Token != ""})
			}
			if len(l.rows) == 0 {
				g.hint(cmd, "There are no contexts. \"%s login SERVER\" makes one.", g.program)
			}
			return l.print(screen)
		},
	}
}

func contextAddCommand(g *globals) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Name a server and a tenant; without a token", Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tenants.CheckName(args[0]); err != nil {
				return fail(exitUsage, "context %q: %w", args[0], err)
			}
			server, err := serverAddress(t.Server)
			if err != nil {
				return err
			}
			t.Server = server
			s, err := openContexts()
			if err != nil {
				return err
			}
			if err := s.put(args[0], t); err != nil {
				return err
			}
			g.hint(cmd, "Context %q is there. \"%s context use %s\" makes it the current one.", args[0], g.program, args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&t.Server, "server", defaultServer, "address of the server")
	cmd.Flags().StringVarP(&t.Tenant, "tenant", "t", "", "tenant to act for")
	return cmd
}

func contextUseCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME|-", Short: "Make a context the current one; - is the one before", Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openContexts()
			if err != nil {
				return err
			}
			name := args[0]
			if name == "-" {
				if name = s.previous(); name == "" {
					return fail(exitNotFound, "no context was used before\n  \"%s context ls\" lists them", g.program)
				}
			}
			t, err := s.find(name)
			if err != nil {
				return err
			}
			if err := s.use(name); err != nil {
				return err
			}
			g.hint(cmd, "Context %q is now current: %s", name, t.Server)
			return nil
		},
	}
}

func contextRemoveCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget a context and its token", Args: wantArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openContexts()
			if err != nil {
				return err
			}
			if _, err := s.find(args[0]); err != nil {
				return err
			}
			return s.remove(args[0])
		},
	}
}
