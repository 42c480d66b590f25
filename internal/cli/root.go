package cli

import (
	"io"
	"sync/atomic"

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
	// unread is set when nobody reads standard output any more: what does nothing but tell ends then.
	unread atomic.Bool
	// untold is the first error of standard output that is another one.
	untold atomic.Pointer[error]
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
  rekey status --watch             where the fleet is, and what it waits for
  rekey run                        walk the fleet to the new names
  rekey rollback                   and back, from wherever it is
  rekey flags --phase dual         without a fleet: the environment that chooses a phase`,
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.running = true
			return a.refuseEmpty(cmd)
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"}) // --help is enough
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&a.file, "file", "f", "rekey.yaml", "the plan")
	flags.StringVar(&a.redis, "redis", "", "URL of the server, else REKEY_REDIS_URL, else the plan's")
	flags.StringVar(&a.env, "env", "", "the environment, else the plan's; there is no default")
	flags.BoolVar(&a.json, "json", false, "print JSON")

	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"before", "Before a migration:", []*cobra.Command{newDemo(a), newInventory(a), newPlan(a), newFlags(a), newAdopt(a)}},
		{"proxy", "In front of programs of any language:", []*cobra.Command{newProxy(a)}},
		{"fleet", "The fleet:", []*cobra.Command{
			newStatus(a), newRun(a), newAdvance(a), newRollback(a), newFreeze(a), newThaw(a), newAudit(a), newFence(a), newLog(a), newRestore(a),
		}},
		{"sweeps", "Sweeps over a rule's keys:", []*cobra.Command{
			newSweep(a, sweep.Purge), newSweep(a, sweep.Backfill), newSweep(a, sweep.Verify), newSweep(a, sweep.Reverse),
			newSweep(a, sweep.Cleanup), newSweep(a, sweep.Relocate), newKnob(a),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
		}
		root.AddCommand(g.commands...)
	}
	root.AddCommand(newVersion(a))
	return root
}

// refuseEmpty refuses a global flag that is there and says nothing: --redis "$STAGING_URL" with a variable that is not set
// would otherwise walk the plan's own server.
func (a *app) refuseEmpty(cmd *cobra.Command) error {
	for _, f := range []struct{ name, value, try string }{
		{"file", a.file, "--file with the path of your plan; ./rekey.yaml is taken where there is no --file"},
		{"redis", a.redis, "--redis with a URL; the plan's server is taken where there is no --redis"},
		{"env", a.env, "--env with a name; the plan's environment is taken where there is no --env"},
	} {
		if f.value == "" && cmd.Flags().Changed(f.name) {
			return misused(f.try, "--%s is empty", f.name)
		}
	}
	return nil
}
