package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// verb is a command that makes one call of the API: most of the tree is such.
type verb struct {
	use, short, example string
	low, high           int                                                  // arguments
	app                 bool                                                 // it is about an application
	flags               func(cmd *cobra.Command)                             // of its own; may be nil
	path                func(c *client, args []string) (string, error)       // of what it is about
	method              string                                               // "" reads
	body                func(cmd *cobra.Command, args []string) (any, error) // nil sends none
	list                *listing                                             // what it lists; nil shows the answer
	done                func(args []string) string                           // what to say where it has changed something; nil shows the answer
	sure                func(args []string) string                           // what to ask before; nil asks nothing
}

// command makes the cobra command of a verb.
func (v verb) command(g *globals) *cobra.Command {
	var limits listFlags
	yes := false
	cmd := &cobra.Command{Use: v.use, Short: v.short, Example: v.example, Args: wantArgs(v.low, v.high)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, c, err := g.screenAndClient(cmd)
		if err != nil {
			return err
		}
		path, err := v.path(c, args)
		if err != nil {
			return err
		}
		if v.list != nil {
			return g.list(cmd, s, c, path, limits, *v.list)
		}
		if v.sure != nil && !yes {
			if err := g.confirm(cmd, v.sure(args)); err != nil {
				return err
			}
		}
		return v.call(g, cmd, s, c, path, args)
	}
	if v.app {
		g.appFlags(cmd)
	} else {
		g.serverFlags(cmd)
	}
	if v.list != nil {
		limits.add(cmd)
	}
	if v.sure != nil {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	}
	if v.flags != nil {
		v.flags(cmd)
	}
	return cmd
}

func (v verb) call(g *globals, cmd *cobra.Command, s screen, c *client, path string, args []string) error {
	var in any
	if v.body != nil {
		var err error
		if in, err = v.body(cmd, args); err != nil {
			return err
		}
	}
	method := v.method
	if method == "" {
		method = http.MethodGet
	}
	doc, _, err := c.call(cmd.Context(), method, path, in)
	if err != nil {
		return err
	}
	if v.done != nil && !s.isJSON() {
		g.hint(cmd, "%s", v.done(args))
		return nil
	}
	if len(doc) == 0 {
		return nil
	}
	return s.object(doc)
}

// confirm asks a person. Where nobody can be asked, it is refused: -y answers for scripts.
func (g *globals) confirm(cmd *cobra.Command, question string) error {
	stdin, ok := cmd.InOrStdin().(*os.File)
	if g.noInput || !ok || !term.IsTerminal(int(stdin.Fd())) {
		return fail(exitUsage, "%s\n  nobody can be asked here; -y says yes", strings.TrimSuffix(question, "?")+" takes a yes")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil || !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return fail(exitFailed, "nothing was done")
	}
	return nil
}

// ofTenant is the path of something of the tenant's, with the arguments behind it.
func ofTenant(parts ...string) func(*client, []string) (string, error) {
	return func(c *client, args []string) (string, error) {
		return c.of(append(slices.Clone(parts), args...)...), nil
	}
}

// ofApp is ofTenant for something of the application's.
func ofApp(parts ...string) func(*client, []string) (string, error) {
	return func(c *client, args []string) (string, error) {
		return c.ofApp(append(slices.Clone(parts), args...)...)
	}
}

// withVerb puts a verb such as ":pause" behind a path.
func withVerb(name string, path func(*client, []string) (string, error)) func(*client, []string) (string, error) {
	return func(c *client, args []string) (string, error) {
		p, err := path(c, args)
		return p + ":" + name, err
	}
}

// group makes a command of verbs.
func group(g *globals, use, short string, verbs ...verb) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	for _, v := range verbs {
		cmd.AddCommand(v.command(g))
	}
	return parent(cmd)
}
