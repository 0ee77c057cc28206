package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants/endpoint"
)

func configCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show the server's configuration",
		Long:  "Check or show the configuration that \"serve\" would run with, with the same file, flags and environment.\n\n" + precedence,
	}
	cmd.AddCommand(configCheckCommand(g), configPrintCommand(g))
	return parent(cmd)
}

const precedence = `A flag wins over the environment, that over the file, that over the default. Each setting has the same name in all three: [store] kind = "etcd"
in the file is TENLOOM_STORE_KIND and --store-kind. Secrets have no flag: store.password stands in a file that store.password_file,
TENLOOM_STORE_PASSWORD_FILE or --store-password-file names; redis.NAME.url can, too. A key that nobody knows is an error.`

func configCheckCommand(g *globals) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "check", Short: "Tell what is wrong with the configuration; nothing is started", Args: wantArgs(0, 0),
		Example: "  tenloom config check -c /etc/tenloom/tenloom.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.read()
			if err != nil {
				return err
			}
			c.tellNotes(g, cmd)
			if _, err := c.certificate(); err != nil {
				return err
			}
			g.hint(cmd, "The configuration is sound.")
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func (c *configuration) tellNotes(g *globals, cmd *cobra.Command) {
	for _, note := range c.notes {
		g.hint(cmd, "Warning: %s", note)
	}
}

func configPrintCommand(g *globals) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "print", Short: "Show each setting with its source, secrets masked", Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := g.screen(cmd)
			if err != nil {
				return err
			}
			c, err := f.read()
			if err != nil {
				return err
			}
			c.tellNotes(g, cmd)
			return c.print(s)
		},
	}
	f.add(cmd)
	return cmd
}

// shown is one line of "config print".
type shown struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func (c *configuration) print(s screen) error {
	var all []shown
	var rows [][]string
	if s.format == "table" {
		rows = append(rows, []string{"SETTING", "VALUE", "SOURCE"})
	}
	for _, g := range c.ordered() {
		one := shown{g.key, g.printable(), g.source}
		if g.key == "state" && g.value == "" {
			one.Value = c.stateDirectory()
		}
		all = append(all, one)
		rows = append(rows, []string{one.Key, plain(one.Value), plain(one.Source)})
	}
	if !s.isJSON() {
		return s.rows("", rows)
	}
	doc, err := json.Marshal(map[string]any{"data": all})
	if err != nil {
		return err
	}
	return s.json(doc)
}

// printable is the value without what is secret in it.
func (g given) printable() string {
	switch {
	case g.value == "":
		return ""
	case g.kind == aSecret:
		return "[redacted]"
	case g.kind == anAddress:
		options, err := endpoint.Parse(g.value)
		if err != nil {
			return "[unreadable]"
		}
		return options.String()
	}
	return g.value
}

// parent makes a command that only has others below it: it shows its help, and names the nearest for one that is not there.
func parent(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = unknownCommand
	return cmd
}
