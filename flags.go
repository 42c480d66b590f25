package rekey

import (
	"context"

	"github.com/classwaves/rekey/phase"
)

// flagPhases reads the phase of each rule from the environment.
func (r *Rekey) flagPhases() (map[string]phase.Phase, error) {
	out := make(map[string]phase.Phase)
	for _, rule := range r.plan.Rules {
		if rule.Flags == phase.FlagsNone {
			continue
		}
		p, err := phase.FromFlags(rule.Flags, r.lookup)
		if err != nil {
			return nil, &FlagsError{Rule: rule.Name, Err: err}
		}
		out[rule.Name] = p
	}
	return out, nil
}

// ReloadFlags reads the flags again, from the lookup that [WithFlags] gave, and takes the instance to
// the phases that they choose. It returns when the last change was made; [Rekey.WaitReached] tells
// when it is in force. An environment that chooses no phase changes nothing.
func (r *Rekey) ReloadFlags(ctx context.Context) error {
	if r.lookup == nil {
		return ErrNotFlags
	}
	phases, err := r.flagPhases()
	if err != nil {
		return err
	}
	return r.change(ctx, phases)
}
