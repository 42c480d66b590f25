package control

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

var (
	//go:embed lua/freeze.lua
	freezeText   string
	freezeScript = redis.NewScript(freezeText)
)

// freezeTries is how often a target may change while it is frozen.
const freezeTries = 10

// Freeze stops all steps of some rules, forward and back, until they are thawed. It needs no lock: the
// controller that is under way finds its next step refused. It says which rules were not frozen before.
func Freeze(ctx context.Context, store *fleet.Store, p *plan.Plan, rules []string, by string) ([]string, error) {
	return setFrozen(ctx, store, p, rules, by, true)
}

// Thaw ends a [Freeze].
func Thaw(ctx context.Context, store *fleet.Store, p *plan.Plan, rules []string, by string) ([]string, error) {
	return setFrozen(ctx, store, p, rules, by, false)
}

func setFrozen(ctx context.Context, store *fleet.Store, p *plan.Plan, rules []string, by string, frozen bool) ([]string, error) {
	for range freezeTries {
		changed, done, err := tryFrozen(ctx, store, p, rules, by, frozen)
		if err != nil || done {
			return changed, err
		}
	}
	return nil, errors.New("rekey: the targets changed each time they were to be frozen; try again")
}

func tryFrozen(ctx context.Context, store *fleet.Store, p *plan.Plan, rules []string, by string, frozen bool) (changed []string, done bool, err error) {
	s, err := takeSnapshot(ctx, store, p)
	if err != nil {
		return nil, false, err
	}
	var args []any
	for _, rule := range rules {
		if _, ok := p.Index(rule); !ok {
			return nil, false, usage("the plan has no rule %q", rule)
		}
		target, ok := s.targets[rule]
		switch {
		case s.badTargets[rule] != nil:
			return nil, false, s.badTargets[rule]
		case !ok:
			return nil, false, usage("rule %s has no control record yet; let an instance join first", rule)
		case target.Frozen == frozen:
			continue
		}
		target.Frozen = frozen
		text, err := json.Marshal(target)
		if err != nil {
			return nil, false, fmt.Errorf("rekey: encode the target of rule %s: %w", rule, err)
		}
		changed = append(changed, rule)
		args = append(args, rule, s.texts[rule], string(text))
	}
	if len(changed) == 0 {
		return nil, true, nil
	}
	what := "thaw"
	if frozen {
		what = "freeze"
	}
	args = append([]any{len(changed)}, args...)
	args = append(args, entryArgs(entry{What: what, By: by, Evidence: changed})...)
	keys := store.Keys()
	n, err := freezeScript.Run(ctx, store.Client(), []string{keys.Phase(), keys.Audit()}, args...).Int()
	if err != nil {
		return nil, false, fmt.Errorf("rekey: %s: %w", what, err)
	}
	return changed, n == 1, nil
}
