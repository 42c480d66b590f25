package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/classwaves/rekey/phase"
)

// ErrUsage is something that was asked for and makes no sense: a rule that the plan lacks, a phase that a
// strategy lacks.
var ErrUsage = errors.New("rekey: control")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
}

// LockedError says that somebody else controls the fleet.
type LockedError struct{ Holder Holder }

func (e *LockedError) Error() string {
	return fmt.Sprintf("rekey: %s controls the fleet since %s; wait until that has ended, or add --take-over",
		e.Holder.Owner, e.Holder.Since.UTC().Format(time.RFC3339))
}

// FencedError says that another controller has taken over. Nothing was written since.
type FencedError struct {
	Holder Holder // who holds the lock now; no Owner: nobody, for that one has given it up
}

func (e *FencedError) Error() string {
	if e.Holder.Owner == "" {
		return "rekey: this controller was overtaken by one that has ended: nobody holds the lock now; look with rekey status"
	}
	return fmt.Sprintf("rekey: this controller was overtaken: %s holds the lock now, since %s; look with rekey status",
		e.Holder.Owner, e.Holder.Since.UTC().Format(time.RFC3339))
}

// Held is a rule that stays where it is.
type Held struct {
	Rule     string      `json:"rule"`
	From     phase.Phase `json:"from"`
	To       phase.Phase `json:"to"`
	Blockers []Blocker   `json:"blockers"`
}

// HeldError says that rules stay where they are, and why: the command's exit code is 3.
type HeldError struct{ Held []Held }

func (e *HeldError) Error() string {
	var lines []string
	for _, h := range e.Held {
		var why []string
		for _, b := range h.Blockers {
			text := b.Text
			if b.Try != "" {
				text += "; " + b.Try
			}
			why = append(why, text)
		}
		lines = append(lines, fmt.Sprintf("rule %s stays in %s: %s", h.Rule, h.From, strings.Join(why, ". ")))
	}
	return "rekey: " + strings.Join(lines, "\n")
}

// Unwrap gives what the blockers come from, as [fleet.ErrRestore].
func (e *HeldError) Unwrap() []error {
	var causes []error
	for _, h := range e.Held {
		for _, b := range h.Blockers {
			if b.cause != nil {
				causes = append(causes, b.cause)
			}
		}
	}
	return causes
}
