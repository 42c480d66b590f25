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
		return explainHeld(held)
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
	case errors.Is(err, control.ErrUsage):
		return misused("rekey status", "%w", err)
	}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i > 0 {
		return failed(text[i+2:], "%s", text[:i])
	}
	return failed("the same command again: what was done stays done, and rekey status shows it", "%w", err)
}

// explainHeld says what holds rules where they are. Each rule is a line, and so is each thing that holds it.
func explainHeld(held *control.HeldError) error {
	var b strings.Builder
	try := "rekey status"
	for i, h := range held.Held {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s stays %s:", h.Rule, whereText(h.From, h.Blockers))
		for _, blocker := range h.Blockers {
			fmt.Fprintf(&b, "\n  %s", blocker.Text)
			if blocker.Try != "" {
				try = blocker.Try
			}
		}
	}
	return &failure{code: exitGate, err: errors.New(b.String()), try: try}
}

// whereText is where a rule stays, as far as its record says.
func whereText(at phase.Phase, blockers []control.Blocker) string {
	if slices.ContainsFunc(blockers, func(b control.Blocker) bool { return b.Reason == control.Records }) {
		return "where it is"
	}
	return "in " + at.String()
}
