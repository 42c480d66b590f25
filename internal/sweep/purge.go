package sweep

import (
	"context"
	"fmt"

	"github.com/classwaves/rekey/phase"
)

// purge removes target keys where none should be: what an earlier try left, or a walk back. It proves that there is none
// (mirror: guard to dual; move: legacy to hold), for a leftover would be read as if it were new.
//
// In legacy and guard nobody reads a target name, and nobody makes one: a write in guard removes it. So UNLINK P takes
// nothing that anyone sees, whatever happens to the key at the same moment:
//
//   - changed or created: in guard the write has removed P itself, in legacy it has left it alone; either way P is stale.
//   - deleted or expired: P is gone, or is the leftover that would bring the key back in dual.
//
// And since none is made, a walk that has removed all that it found leaves none. The phases before the gate are the only
// ones in which that is so: from dual on (hold with the move strategy) P may be the only copy. That a half-done migration
// may have left the newer data under the target names is for the operator to know, so purge is dry until told otherwise.
//
// Whose the legacy keys are is the other half of the same gate: from dual on (hold with the move strategy) what stands
// under a legacy name is taken for this environment's and goes to its target. Where names of another environment are met,
// the gate wants the operator's word. Nothing under those names is ever touched: no rule of this plan matches them.
type purge struct {
	*run
	shared []string // other environments with names in these databases
}

func (j *purge) passes() []pass { return []pass{{targetSide, j.begin}} }

// look finds out whether other environments are in the databases, where that is part of a gate.
func (j *purge) look(ctx context.Context, links []*link) (err error) {
	if len(Purge.Gates(j.strategy, j.Phase)) == 0 {
		return nil
	}
	if j.shared, err = j.others(ctx, links); err != nil || len(j.shared) == 0 {
		return err
	}
	if j.ClaimSharedLegacy {
		j.result.Verdict.Claimed = j.shared
		j.note(claimedNote(j.shared))
	}
	return nil
}

func (j *purge) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	if !j.Execute {
		return func() error {
			for _, k := range keys {
				j.found(Leftover, l, k, "")
			}
			return nil
		}, nil
	}
	return j.startAll(ctx, l, "UNLINK", keys, func(k key) string { return k.target }, func(removed int64) error {
		j.result.Changed += removed
		return nil
	})
}

func (j *purge) prove(phase.Gate) (bool, string) {
	if len(j.shared) > 0 && !j.ClaimSharedLegacy {
		return false, sharedReason(j.shared)
	}
	if n := j.result.Problems[Leftover]; n > 0 {
		return false, fmt.Sprintf("%d target keys exist; if they are leftovers, run `rekey purge %s --execute`", n, j.Rule)
	}
	return true, ""
}
