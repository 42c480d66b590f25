package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/shape"
	"github.com/classwaves/rekey/plan"
)

// inventoryOptions are the flags of `rekey inventory`.
type inventoryOptions struct {
	match    string
	limit    int64
	sample   float64
	rate     int
	biggest  int
	shapes   int
	words    int
	showKeys bool
	emit     string
	prefix   string
}

// newInventory is `rekey inventory`: what is in a keyspace that nobody documented.
func newInventory(a *app) *cobra.Command {
	var o inventoryOptions
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "Find out what is in a keyspace",
		Long: `Walks over all names and proposes templates for them, with how many keys each
has, their types, sizes, times to live and idle times, the biggest keys, and
which rule of the plan covers what. Without a plan it needs only --redis.

It changes nothing, needs no more than the right to read (+@read ~*), and says
what it could not find out without more. Names of keys are not printed, but
templates are made of what many names share: --show-keys prints examples.

--emit-plan FILE writes a plan to start from, with a rule for every shape that
no rule covers yet (- is standard output).`,
		Example: `  rekey inventory --redis redis://127.0.0.1:6379
  rekey inventory --limit 1000000 --sample 0.1     look at a part, ask about a tenth of it
  rekey inventory --emit-plan rekey.yaml --env prod`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(o.sample > 0 && o.sample <= 1) { // NaN is none either
				return misused("rekey inventory --sample 0.1, for a key in ten", "--sample %v is no share of the keys", o.sample)
			}
			return a.inventory(cmd.Context(), o, cmd.Flags().Changed("file"))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.match, "match", "", "only names that match this pattern, as SCAN takes it")
	f.Int64Var(&o.limit, "limit", 0, "how many names to look at (default: all)")
	f.Float64Var(&o.sample, "sample", 1, "the share of the keys to ask about; all names are counted")
	f.IntVar(&o.rate, "rate", 0, "how many names to look at in a second (default: as many as the server gives)")
	f.IntVar(&o.biggest, "biggest", 10, "how many of the biggest keys to list")
	f.IntVar(&o.shapes, "shapes", inventory.DefaultShapes, "how many shapes to tell apart at most")
	f.IntVar(&o.words, "words", shape.DefaultWords, "how many words that go on alike stay literals at one place, before they are values")
	f.BoolVar(&o.showKeys, "show-keys", false, "print names of keys; they hold identifiers of sessions")
	f.StringVar(&o.emit, "emit-plan", "", "write a plan to start from to this file; one that is there is not overwritten")
	f.StringVar(&o.prefix, "target-prefix", "", "what the targets of that plan begin with, such as cw:{env}: (default: one that no key has)")
	return cmd
}

// inventory takes the inventory and prints it.
func (a *app) inventory(ctx context.Context, o inventoryOptions, planNamed bool) error {
	p, err := a.loadPlan()
	if errors.Is(err, fs.ErrNotExist) && !planNamed {
		p, err = nil, nil // the keyspace may have none yet
	}
	if err != nil {
		return err
	}
	t, err := a.connectReading(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = t.close() }() // nothing was written
	databases := []int{t.options.DB}
	if p != nil {
		databases = p.Databases
	}
	clients := make(map[int]*redis.Client)
	for _, db := range databases {
		clients[db] = t.client(db)
	}
	progress := a.newInventoryProgress()
	report, err := inventory.Take(ctx, inventory.Options{
		Client: func(db int) *redis.Client { return clients[db] }, Databases: databases, Plan: p,
		Match: o.match, Limit: o.limit, Sample: o.sample, Rate: o.rate, Biggest: o.biggest, Shapes: o.shapes, Words: o.words, OnProgress: progress.report,
	})
	progress.end()
	if err != nil {
		return explainInventory(err)
	}
	if o.emit == "-" {
		return a.emitPlan(report, p, t, databases, o)
	}
	if a.json {
		err = a.printJSON(inventoryObject(report, o.showKeys))
	} else {
		a.printInventory(report, p, databases, o.showKeys)
	}
	if err == nil && o.emit != "" {
		err = a.emitPlan(report, p, t, databases, o)
	}
	return err
}

// explainInventory takes what is to be done from the end of an error.
func explainInventory(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	code := exitFailed
	if errors.Is(err, inventory.ErrOptions) {
		code = exitUsage
	}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i > 0 {
		return &failure{code: code, err: errors.New(text[:i]), try: text[i+2:]}
	}
	return &failure{code: code, err: err, try: "rekey inventory --help"}
}

// connectReading connects with no more than the right to read: PING may be refused.
func (a *app) connectReading(ctx context.Context, p *plan.Plan) (*target, error) {
	t, err := a.findServer(p)
	if err != nil {
		return nil, err
	}
	err = t.client(t.options.DB).Ping(ctx).Err()
	if err == nil || strings.HasPrefix(err.Error(), "NOPERM") {
		return t, nil
	}
	return nil, errors.Join(t.unreachable(ctx, err), t.close())
}

// emitPlan writes the plan to start from.
func (a *app) emitPlan(r *inventory.Report, p *plan.Plan, t *target, databases []int, o inventoryOptions) error {
	e := inventory.Emission{Environment: a.env, Databases: databases, Prefix: o.prefix}
	if e.Environment == "" && p != nil {
		e.Environment = p.Environment
	}
	if url := string(t.url); !strings.Contains(url, "@") { // a password belongs in no file
		e.URL = url
	}
	text, err := r.Plan(e)
	if err != nil {
		return explainInventory(err)
	}
	if o.emit == "-" {
		_, err := a.stdout.Write(text)
		if err := a.written(err); err != nil { // the half of a plan may be a plan
			return failed("rekey inventory --emit-plan - into a file where there is room", "write the plan: %w", err)
		}
		return nil
	}
	file, err := os.OpenFile(o.emit, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return misused("rekey inventory --emit-plan NEWFILE", "the plan cannot be written: %w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return failed("rekey inventory --emit-plan NEWFILE", "write the plan: %w", err)
	}
	if !a.json {
		a.printf("\nA plan to start from is in %s. Next: rekey plan -f %[1]s\n", o.emit)
	}
	return nil
}

// inventoryProgress says how far an inventory is: in one line of a terminal, or in plain lines.
type inventoryProgress struct {
	app         *app
	began, last time.Time
	every       time.Duration
	terminal    bool
	open        bool // a line of the terminal is to be cleared
}

func (a *app) newInventoryProgress() *inventoryProgress {
	p := &inventoryProgress{app: a, began: time.Now(), last: time.Now(), every: progressEvery}
	if !a.json && a.canDraw(a.stderr) {
		p.terminal, p.every = true, 100*time.Millisecond
	}
	return p
}

func (p *inventoryProgress) report(now inventory.Progress) {
	if time.Since(p.last) < p.every {
		return
	}
	p.last = time.Now()
	rate := float64(now.Looked) / time.Since(p.began).Seconds()
	if p.app.json {
		// The result says it again; a line that is lost is no loss.
		_ = p.app.printJSON(struct {
			Type   string  `json:"type"`
			Looked int64   `json:"looked_at"`
			Keys   int64   `json:"keys"`
			Rate   float64 `json:"per_second"`
		}{"progress", now.Looked, now.Keys, rate})
		return
	}
	text := fmt.Sprintf("inventory: %d names, %.0f a second", now.Looked, rate)
	if now.Keys > 0 && rate > 0 {
		left := time.Duration(float64(max(0, now.Keys-now.Looked)) / rate * float64(time.Second))
		text = fmt.Sprintf("inventory: %d of %d names (%d%%), %.0f a second, %v left", now.Looked, now.Keys,
			min(100, now.Looked*100/now.Keys), rate, left.Round(time.Second))
	}
	if p.terminal {
		p.open = true
		_, _ = fmt.Fprintf(p.app.stderr, "\r\x1b[K%s", text)
		return
	}
	_, _ = fmt.Fprintln(p.app.stderr, text)
}

// end clears the line.
func (p *inventoryProgress) end() {
	if p.open {
		_, _ = fmt.Fprint(p.app.stderr, "\r\x1b[K")
	}
}
