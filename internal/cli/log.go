package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
)

// logOptions are the flags of `rekey log`.
type logOptions struct {
	last     int
	evidence bool
}

// defaultLog is how many entries are shown.
const defaultLog = 50

// newLog is `rekey log`.
func newLog(a *app) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "log [RULE...]",
		Short: "Show what was done to the fleet, by whom, and on which evidence",
		Long: `The audit log of the fleet: every step of every rule, who asked for it, and what
was proven before. It is kept in the server, and bounded: the last ten thousand
entries or so. With RULE it shows those of these rules, and those of the fleet.`,
		Example: `  rekey log
  rekey log sessions -n 5 --evidence`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			return a.log(cmd.Context(), rules, o)
		},
	}
	cmd.Flags().IntVarP(&o.last, "last", "n", defaultLog, "how many entries")
	cmd.Flags().BoolVar(&o.evidence, "evidence", false, "print what each step was made on")
	return cmd
}

func (a *app) log(ctx context.Context, rules []string, o logOptions) error {
	if o.last <= 0 {
		return misused("rekey log -n 50", "-n %d shows nothing", o.last)
	}
	f, err := a.openFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // it was only read from
	for _, name := range rules {
		if _, err := ruleIndex(f.plan, name); err != nil {
			return err
		}
	}
	ask := o.last
	if len(rules) > 0 {
		ask = wholeLog // others' entries are between
	}
	entries, err := control.Log(ctx, f.store, ask)
	if err != nil {
		return explainControl(err)
	}
	if len(rules) > 0 {
		entries = slices.DeleteFunc(entries, func(e control.Entry) bool { return e.Rule != "" && !slices.Contains(rules, e.Rule) })
		entries = entries[max(0, len(entries)-o.last):]
	}
	if a.json {
		for _, e := range entries {
			if err := a.printJSON(struct {
				Type string `json:"type"`
				control.Entry
			}{"entry", e}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(entries) == 0 {
		a.printf("nothing was done to this fleet yet\n")
		return nil
	}
	a.printLog(entries, o.evidence)
	return nil
}

// wholeLog is more entries than the log keeps.
const wholeLog = 20_000

func (a *app) printLog(entries []control.Entry, evidence bool) {
	rows := [][]string{{"time", "rule", "what", "by", ">generation"}}
	for _, e := range entries {
		generation := "-"
		if e.Gen > 0 {
			generation = fmt.Sprint(e.Gen)
		}
		rule := e.Rule
		if rule == "" {
			rule = "-"
		}
		rows = append(rows, []string{e.At.Local().Format(time.DateTime), rule, entryText(&e), e.By, generation})
	}
	for i, text := range columns(rows) {
		kind := plainLine
		if i == 0 {
			kind = headLine
		}
		a.printLines([]line{{kind, text}})
		if i > 0 && evidence && len(entries[i-1].Evidence) > 0 {
			a.printLines([]line{{headLine, "    " + string(entries[i-1].Evidence)}})
		}
	}
}

// entryText is what was done.
func entryText(e *control.Entry) string {
	text := e.What
	switch {
	case e.From != "" && e.To != "":
		text += ", " + e.From + " to " + e.To
	case e.To != "":
		text += ", at " + e.To
	}
	if e.Instance != "" {
		text += ", " + e.Instance
	}
	var rules []string
	if e.Rule == "" && json.Unmarshal(e.Evidence, &rules) == nil && len(rules) > 0 { // of a freeze
		text += fmt.Sprintf(", %s", namesText(rules))
	}
	return text
}
