package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
)

// newAudit is `rekey audit`.
func newAudit(a *app) *cobra.Command {
	var o control.AuditOptions
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Find clients that use the server past rekey",
		Long: `A program that does not go through rekey counts as legacy for ever: what it
writes under a legacy name is lost for everybody else. audit finds the clients
that no instance of the fleet has in its record, also those that come and go
while it looks, for a moment. With --monitor it also listens to the server's
commands, which costs the server something, and names who uses legacy names:
that finds one that is seldom there.

Its verdict belongs to the gate of several steps. Who may stay outside stands in
the plan, audit: {allow: [...]}, or in --allow-stranger: users, client names,
addresses and networks. Exit code 3: there are strangers.`,
		Example: `  rekey audit
  rekey audit --monitor 10s --allow-stranger exporter --allow-stranger 10.0.0.0/24`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.audit(cmd.Context(), o)
		},
	}
	cmd.Flags().DurationVar(&o.Monitor, "monitor", 0, "how long to listen to the server's commands")
	cmd.Flags().StringSliceVar(&o.Allow, "allow-stranger", nil, "a user, client name, address or network that may stay past rekey, beside the plan's")
	return cmd
}

func (a *app) audit(ctx context.Context, o control.AuditOptions) error {
	if o.Monitor < 0 {
		return misused("rekey audit --monitor 10s", "--monitor %v is less than 0", o.Monitor)
	}
	f, err := a.openFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // all that was written was answered
	report, err := control.Audit(ctx, f.store, f.plan, o)
	if err != nil {
		return explainControl(err)
	}
	if a.json {
		err = a.printJSON(struct {
			Type string `json:"type"`
			control.AuditReport
		}{"audit", report})
	} else {
		a.printLines(auditLines(&report))
	}
	if err == nil && !report.Clean {
		return said(exitGate)
	}
	return err
}

func auditLines(r *control.AuditReport) []line {
	out := []line{{plainLine, fmt.Sprintf("clients    %d: %d of the fleet, %d of rekey itself, %d allowed, %s",
		r.Clients, r.Fleet, r.Own, r.Allowed, plural(len(r.Strangers), "stranger"))}}
	if r.Monitor > 0 {
		out = append(out, line{plainLine, fmt.Sprintf("commands   listened to for %s: %s", spanText(r.Monitor), usesText(r.Uses))})
	}
	if len(r.Strangers) > 0 {
		rows := [][]string{{"stranger", "user", "name", "library", ">db", "last command", ">idle", ">connected for"}}
		for i := range r.Strangers {
			s := &r.Strangers[i]
			since := spanText(s.Age)
			if s.Gone {
				since = "gone again"
			}
			rows = append(rows, []string{
				s.Addr, cmp.Or(s.User, "-"), cmp.Or(s.Name, "-"), cmp.Or(s.Library, "-"), fmt.Sprint(s.Database), cmp.Or(s.Command, "-"),
				spanText(s.Idle), since,
			})
		}
		out = append(out, tableLines(rows, badLine)...)
	}
	if len(r.Uses) > 0 {
		rows := [][]string{{"legacy names used by", "user", "name", "rule", "command", ">times", "allowed"}}
		for _, u := range r.Uses {
			rows = append(rows, []string{u.Addr, cmp.Or(u.User, "-"), cmp.Or(u.Name, "-"), u.Rule, u.Command, fmt.Sprint(u.Times), yesNo(u.Allowed)})
		}
		out = append(out, tableLines(rows, badLine)...)
	}
	out = append(out, line{})
	if r.Clean {
		return append(out, line{goodLine, "Nobody was seen to use the server past rekey."})
	}
	return append(out, line{plainLine, "Next: stop them, or open them with rekey; who may stay is named in the plan's audit: {allow: [...]}, or with --allow-stranger"})
}

// tableLines is a table with an empty line before it.
func tableLines(rows [][]string, kind lineKind) []line {
	out := []line{{}}
	for i, text := range columns(rows) {
		if i == 0 {
			out = append(out, line{headLine, text})
		} else {
			out = append(out, line{kind, text})
		}
	}
	return out
}

func usesText(uses []control.Use) string {
	n := 0
	for _, u := range uses {
		n += u.Times
	}
	if n == 0 {
		return "no legacy name was used past rekey"
	}
	return fmt.Sprintf("legacy names were used %s past rekey", plural(n, "time"))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
