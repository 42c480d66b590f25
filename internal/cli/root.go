package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/sweep"
)

// app is what a command gets: the streams, the environment and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)

	file  string // -f
	redis string // --redis
	env   string // --env
	json  bool   // --json

	// running is set when a command's own code begins: what fails before it is the usage.
	running bool
}

// newRoot builds the commands. A subcommand is a function in a file of its own name that takes the
// app and returns the cobra command; its line below is all that it needs.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "rekey",
		Short: "Move live Redis and Valkey keys to new names",
		Long: `rekey moves live Redis and Valkey keys from one naming scheme to another while
the applications keep running: no downtime, no lost write, no stale read, and a
way back at every step.

Exit codes: 0 done, 1 failed or violated, 2 usage or plan, 3 a gate does not hold.`,
		Example: `  rekey demo                       watch a live migration, no server needed
  rekey plan                       check ./rekey.yaml against its server
  rekey flags --phase dual         the environment that chooses a phase`,
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRun: func(*cobra.Command, []string) { a.running = true },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"}) // --help is enough
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&a.file, "file", "f", "rekey.yaml", "the plan")
	flags.StringVar(&a.redis, "redis", "", "URL of the server, else REKEY_REDIS_URL, else the plan's")
	flags.StringVar(&a.env, "env", "", "the environment, else the plan's; there is no default")
	flags.BoolVar(&a.json, "json", false, "print JSON")

	root.AddCommand(
		newDemo(a),
		newFlags(a),
		newPlan(a),
		newSweep(a, sweep.Purge),
		newSweep(a, sweep.Backfill),
		newSweep(a, sweep.Verify),
		newSweep(a, sweep.Reverse),
		newSweep(a, sweep.Cleanup),
		newSweep(a, sweep.Relocate),
		newAdopt(a),
		newStatus(a),
		newVersion(a),
	)
	return root
}
