package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/demo"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// demoFlags is what `rekey demo` is told.
type demoFlags struct {
	strategy  string
	seconds   float64
	instances int
	keys      int
	seed      uint64
	prefix    string
	naive     bool
}

// newDemo is `rekey demo`: a live migration under traffic, there and back, with every reply checked.
func newDemo(a *app) *cobra.Command {
	var f demoFlags
	command := &cobra.Command{
		Use:   "demo",
		Short: "Watch a live migration, there and back, under checked traffic",
		Long: `demo fills a server with the eleven kinds of keys of a classroom backend, starts
several instances of it, and moves the keys from legacy to prefixed names and back
while they work: one instance after the other, with the sweeps at the gates. Every
reply is compared with what it must be. What is lost, stale or revived is counted
and ends the demo with exit code 1.

The server is one inside this process. With --redis it is a real one, whose database
must be empty; --keys-prefix keeps the demo's keys apart from others. The demo
removes its keys at the end. Neither REKEY_REDIS_URL nor a plan is looked at.

--naive does the same without rekey: the plain flips of two flags that teams write by
hand (read the new name, else the old one; write both; then the new name only).`,
		Example: `  rekey demo
  rekey demo --naive
  rekey demo --strategy move --seconds 10
  rekey demo --redis redis://127.0.0.1:6379/9
  rekey demo --redis redis://127.0.0.1:6379 --keys-prefix rekey-demo:`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runDemo(cmd.Context(), f)
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.strategy, "strategy", "", "mirror or move (default mirror)")
	flags.Float64Var(&f.seconds, "seconds", demo.DefaultDuration.Seconds(), "how long the walk takes, about")
	flags.IntVar(&f.instances, "instances", demo.DefaultInstances, "how many processes are played")
	flags.IntVar(&f.keys, "keys", demo.DefaultKeys, "how many there are of each of the eleven kinds")
	flags.StringVar(&f.prefix, "keys-prefix", "", "what the names of all the demo's keys begin with")
	flags.BoolVar(&f.naive, "naive", false, "flip flags without rekey, and see what is lost")
	flags.Uint64Var(&f.seed, "seed", 0, "chooses the traffic (default: drawn)")
	return command
}

// options checks the flags.
func (a *app) demoOptions(ctx context.Context, f demoFlags) (o demo.Options, err error) {
	switch {
	case !(f.seconds > 0 && f.seconds <= 3600):
		return o, misused("rekey demo --seconds 20", "--seconds %v is not between 0 and 3600", f.seconds)
	case f.instances < 2:
		return o, misused("rekey demo --instances 4", "--instances %d: two phases are mixed among two instances at least", f.instances)
	}
	o = demo.Options{
		KeysPrefix: f.prefix, Instances: f.instances, Keys: f.keys, Seed: f.seed, Naive: f.naive,
		Duration: time.Duration(f.seconds * float64(time.Second)),
	}
	if f.strategy != "" {
		if o.Strategy, err = phase.ParseStrategy(f.strategy); err != nil {
			return o, misused("rekey demo --strategy mirror", "--strategy: %w", err)
		}
	}
	if a.redis == "" {
		return o, nil
	}
	if o.URL, err = plan.ParseURL(a.redis); err != nil {
		return o, misused("--redis redis://127.0.0.1:6379", "--redis: %w", err)
	}
	// The server is asked for a sign of life with the words that every command has for it.
	t, err := a.connect(ctx, nil)
	if err != nil {
		return o, err
	}
	return o, t.close()
}

// runDemo runs a demo and shows it as the output can: live, as lines, or as JSON Lines.
func (a *app) runDemo(ctx context.Context, f demoFlags) error {
	o, err := a.demoOptions(ctx, f)
	if err != nil {
		return err
	}
	var report demo.Report
	show := func(w io.Writer) error { return report.Print(w) }
	switch {
	case a.json:
		lines := demo.NewJSON(told{a})
		o.Observer, show = lines, func(io.Writer) error { return lines.Report(report) }
		report, err = demo.Run(ctx, o)
	case a.canDraw(a.stdout):
		live := demo.NewTerminal(a.stdout)
		o.Observer = live
		report, err = demo.Run(ctx, o)
		err = errors.Join(err, live.Close())
	default:
		o.Observer = demo.NewPlain(told{a})
		report, err = demo.Run(ctx, o)
	}
	if report.Ops > 0 { // otherwise nothing was begun
		_ = show(told{a}) // it is noted
	}
	return a.demoEnd(ctx, f, report, err)
}

// demoEnd turns how a demo ended into an exit code and the line that says what to do.
func (a *app) demoEnd(ctx context.Context, f demoFlags, report demo.Report, err error) error {
	switch {
	case errors.Is(err, demo.ErrLeft) && f.prefix != "":
		return failed("rekey demo with another --keys-prefix; the names that are left begin with this one", "%w", err)
	case errors.Is(err, demo.ErrLeft):
		return failed("FLUSHDB in that database, which was empty before the demo", "%w", err)
	case ctx.Err() != nil:
		return failed("rekey demo, and let it come to its end", "interrupted: the walk was not finished, and the demo's keys were removed")
	case errors.Is(err, demo.ErrOptions):
		return misused("rekey demo --help", "%w", err)
	case errors.Is(err, demo.ErrNotEmpty):
		return failed("rekey demo --redis URL --keys-prefix rekey-demo:", "%w", err)
	case err != nil:
		return failed("rekey demo, with a server of its own; --redis URL names another", "%w", err)
	case report.Violated() && f.naive:
		return failed("rekey demo, for the same walk with rekey", "the plain flag flip lost, aged or revived %d replies", report.Lost+report.Stale+report.Revived)
	case report.Violated():
		return failed("report it, with the seed, at https://github.com/classwaves/rekey/issues",
			"%d replies were wrong, which must never happen", report.Lost+report.Stale+report.Revived)
	case !a.json:
		a.printf("  Nothing was lost: every reply was what the last acknowledged write had left.\n")
	}
	return nil
}

// canDraw reports whether somebody may be looking, by a terminal that takes more than text: the one of an editor's shell, for
// example, shows escape sequences as they are written, and says so by TERM=dumb.
func (a *app) canDraw(w io.Writer) bool {
	file, ok := w.(*os.File)
	kind, _ := a.lookup("TERM")
	return ok && term.IsTerminal(file.Fd()) && kind != "dumb"
}
