// Command tenloom runs many tenants' Redis-triggered WebAssembly handlers.
//
// It is the one place that knows every room of the house and introduces them to each other: platform.go wires them, one file for each
// subcommand uses what is wired.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/sandbox"
)

func main() {
	sandbox.CompileMain()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, rootCommand()))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tenloom",
		Short: "Run Redis-triggered WebAssembly handlers of Spin applications",
		Long:  "tenloom runs Redis-triggered WebAssembly handlers of Spin applications.\n\n" + exitHelp,
		Example: `  tenloom up                                    run the application in this folder, or a sample
  tenloom publish greetings '{"name":"Ada"}'    publish, and see what became of it
  tenloom new mailer -t go                      begin an application of your own`,
	}
	g := addGlobals(root)
	root.AddCommand(upCommand(g), serveCommand(g), publishCommand(g), subscribeCommand(g), invokeCommand(g), checkCommand(g), doctorCommand(g), newCommand(g), versionCommand(g), configCommand(g), contextCommand(g), loginCommand(g), logoutCommand(g), whoamiCommand(g), apiCommand(g), tenantsCommand(g), membersCommand(g), policyCommand(g), limitsCommand(g), usageCommand(g), tokensCommand(g), connectionsCommand(g), appsCommand(g), triggersCommand(g), channelsCommand(g), invocationsCommand(g), varsCommand(g), secretsCommand(g), auditCommand(g), backupCommand(g), restoreCommand(g), logsCommand(g), versionsCommand(g), deploymentsCommand(g), promoteCommand(g), rollbackCommand(g), deployCommand(g), diffCommand(g))
	return root
}
