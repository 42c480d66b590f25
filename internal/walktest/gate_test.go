package walktest

import (
	"context"
	"errors"
	"fmt"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

var errGate = errors.New("the gate does not hold")

// prove runs the sweep of a gate while the traffic goes on, as an operator does, and holds it to its
// verdict.
func (f *fleet) prove(ctx context.Context, rule string, from phase.Phase, gate phase.Gate) error {
	if gate == phase.Quiet {
		return nil // counted and not swept, and nobody soaks a test
	}
	if gate == phase.NoLegacy && from == phase.Drain {
		// What only the legacy name holds gets its target first; cleanup would leave it.
		if _, err := f.sweep(ctx, rule, sweep.Backfill, from); err != nil {
			return err
		}
	}
	kind, err := sweep.ParseKind(gate.Sweep())
	if err != nil {
		return err
	}
	result, err := f.sweep(ctx, rule, kind, from)
	if err != nil {
		return err
	}
	if kind == sweep.Verify {
		// Keys that change under it all the time stay unsettled; anything else is a difference.
		if bad := result.Found() - result.Problems[sweep.Unsettled]; bad > 0 {
			return fmt.Errorf("%w: %v, such as %+v", errGate, result.Problems, result.Examples)
		}
		return nil
	}
	if holds, reason := result.Verdict.Holds(gate); !holds {
		return fmt.Errorf("%w: %s", errGate, reason)
	}
	return nil
}

func (f *fleet) sweep(ctx context.Context, rule string, kind sweep.Kind, from phase.Phase) (sweep.Result, error) {
	return sweep.Run(ctx, sweep.Options{
		Client: f.bare, Plan: f.plan, Rule: rule, Kind: kind, Phase: from, Page: 7,
		Execute:      kind == sweep.Purge || kind == sweep.Cleanup,
		RemoveStrays: kind == sweep.Cleanup && from == phase.Sealed,
	})
}
