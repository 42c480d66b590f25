package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// explainControl gives the errors of the fleet's commands their exit codes and their last line.
func explainControl(err error) error {
	var already *failure
	var held *control.HeldError
	var locked *control.LockedError
	var fenced *control.FencedError
	var format *fleet.FormatError
	switch {
	case errors.As(err, &already), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &held):
		return explainBeside(explainHeld(held), unheld(err))
	case errors.As(err, &locked):
		return failed("rekey status --watch; or rekey rollback --take-over, which goes back and ends what runs", "%s walks the fleet, since %s",
			locked.Holder.Owner, locked.Holder.Since.Local().Format("15:04:05"))
	case errors.As(err, &fenced):
		text, _, _ := strings.Cut(err.Error(), ";")
		return failed("rekey log, which says what has been done since", "%s", text)
	case errors.As(err, &format):
		text, _, _ := strings.Cut(err.Error(), ";")
		return failed("update this program, or the instances: they have to be of one version", "%s", text)
	case errors.Is(err, fleet.ErrRestore):
		return failed("rekey status, and then rekey restore-phase RULE --phase PHASE", "%w", err)
	case saysClustered(err):
		return errClustered()
	case errors.Is(err, control.ErrUsage):
		return misused("rekey status", "%w", err)
	}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i > 0 {
		return failed(text[i+2:], "%s", text[:i])
	}
	if try, ok := refused(err); ok {
		return failed(try, "%w", err)
	}
	return failed("the same command again: what was done stays done, and rekey status shows it", "%w", err)
}

// unheld are the errors that a walk has joined to the one of what holds rules.
func unheld(err error) (out []error) {
	switch e := err.(type) {
	case *control.HeldError: // it unwraps to what the blockers come from
		return nil
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			out = append(out, unheld(one)...)
		}
		return out
	}
	if errors.As(err, new(*control.HeldError)) {
		return nil
	}
	return []error{err}
}

// explainBeside appends what failed beside what is held. A failure says more than a gate: the exit code is 1 and the
// last line that of the first one.
func explainBeside(held *failure, others []error) error {
	for _, other := range others {
		var f *failure
		if !errors.As(explainControl(other), &f) {
			continue // explainControl gives no other one here: who was interrupted is told that alone
		}
		if held.code == exitGate {
			held.code, held.try = exitFailed, f.try
		}
		held.err = fmt.Errorf("%w\n%s", held.err, strings.TrimPrefix(f.Error(), "rekey: "))
	}
	return held
}

// explainHeld says what holds rules where they are, a line for each thing; rules that are held alike are one.
func explainHeld(held *control.HeldError) *failure {
	type group struct {
		rules []string
		where string
		texts []string
	}
	var groups []group
	try := "rekey status"
	for _, h := range held.Held {
		g := group{where: whereText(h.From, h.Blockers)}
		for i, blocker := range h.Blockers {
			if blocker.Try != "" {
				try = blocker.Try
			}
			if i < mostBlockers {
				g.texts = append(g.texts, blocker.Text)
			}
		}
		if more := len(h.Blockers) - mostBlockers; more > 0 {
			g.texts = append(g.texts, fmt.Sprintf("and %d more", more))
		}
		at := slices.IndexFunc(groups, func(o group) bool { return o.where == g.where && slices.Equal(o.texts, g.texts) })
		if at < 0 {
			groups = append(groups, g)
			at = len(groups) - 1
		}
		groups[at].rules = append(groups[at].rules, h.Rule)
	}
	var out []string
	for _, g := range groups {
		verb := "stay"
		if len(g.rules) == 1 {
			verb = "stays"
		}
		out = append(out, fmt.Sprintf("%s %s %s:\n  %s", namesText(g.rules), verb, g.where, strings.Join(g.texts, "\n  ")))
	}
	return &failure{code: exitGate, err: errors.New(strings.Join(out, "\n")), try: try}
}

// whereText is where a rule stays, as far as its record says.
func whereText(at phase.Phase, blockers []control.Blocker) string {
	if slices.ContainsFunc(blockers, func(b control.Blocker) bool { return b.Reason == control.Records }) {
		return "put"
	}
	return "in " + at.String()
}
