package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/phase"
)

// begin gives a target for every rule, or says why there is none that can be followed. Rules without a
// record are at legacy, if no name says otherwise.
func (a *Agent) begin(ctx context.Context) (map[string]Target, error) {
	if err := a.heard(ctx); err != nil {
		return nil, err
	}
	targets, err := a.notBehind(ctx)
	if err != nil {
		return nil, err
	}
	missing := make(map[string]string)
	for i, r := range a.Plan.Rules {
		t, ok := targets[r.Name]
		switch {
		case !ok:
			if err := a.neverMoved(ctx, i); err != nil {
				return nil, err
			}
			missing[r.Name] = a.Plan.Hash(i)
		case t.Hash != a.Plan.Hash(i) && t.Phase != phase.Legacy:
			return nil, fmt.Errorf("rekey: rule %s: the fleet is at %s with other templates, databases or strategy than this plan has; give this process the fleet's plan", r.Name, t.Phase)
		}
	}
	if len(missing) == 0 {
		return targets, nil
	}
	if len(targets) == 0 {
		if err := a.alone(ctx); err != nil {
			return nil, err
		}
	}
	return a.store.Found(ctx, rand.Text(), missing, a.Name)
}

// notBehind reads the targets, and refuses those that are older than what instances of the fleet have already
// reached: the records were turned back, by an old snapshot or a replica that lagged. The targets are read
// after the instances, which go on meanwhile.
func (a *Agent) notBehind(ctx context.Context) (map[string]Target, error) {
	others, _, err := a.store.Instances(ctx)
	if err != nil {
		return nil, err
	}
	targets, err := a.store.Targets(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		for rule, s := range o.Rules {
			t, ok := targets[rule]
			if o.ID == a.self.ID || s.Epoch == "" || o.Observer {
				continue
			}
			if !ok || s.Beyond(t) {
				return nil, fmt.Errorf("%w (rule %s)", ErrRestore, rule)
			}
		}
	}
	return targets, nil
}

// heardPause is how often it is looked whether the others have renewed.
const heardPause = 20 * time.Millisecond

// heard waits, on a server that has just begun, until the instances that its records tell of have renewed. The
// records may be of an old snapshot, and those instances far beyond it: only they can tell. After the time of a
// lease those who have not are gone, and so are their connections.
//
// Instances that join at the same time wait for each other as well, for that time at most. That a record says of no rule
// which phase was reached does not tell a newcomer from one that was new when the snapshot was taken, and its time does
// not either, since clocks go back where a server comes from elsewhere.
func (a *Agent) heard(ctx context.Context) error {
	_, began, err := a.store.Instances(ctx)
	if err != nil {
		return err
	}
	woken := false
	for {
		age, err := a.store.Age(ctx)
		if err != nil || age < 0 || age > a.Plan.Fleet.Lease {
			return err
		}
		all, _, err := a.store.Instances(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(o Instance) bool { return o.ID != a.self.ID && !o.Observer && o.Renewed <= began }) {
			return nil
		}
		if !woken {
			if _, err := a.store.Wake(ctx); err != nil {
				return err
			}
			woken = true
		}
		if err := pause(ctx, heardPause); err != nil {
			return err
		}
	}
}

// alone makes sure that no instance lives which the records do not tell of because they were lost: each listens
// for events, and enters itself again when it hears one. Until then it goes on in its phase, whatever that is.
func (a *Agent) alone(ctx context.Context) error {
	for until := a.Now().Add(a.Plan.Fleet.Lease); ; {
		listeners, err := a.store.Wake(ctx)
		if err != nil {
			return err
		}
		if listeners == 0 {
			return nil
		}
		targets, err := a.notBehind(ctx)
		if err != nil || len(targets) > 0 { // by another one that begins
			return err
		}
		if a.Now().After(until) {
			return fmt.Errorf("%w (%d instances listen for changes and do not say which phases they are in)", ErrRestore, listeners)
		}
		if err := pause(ctx, heardPause); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// neverMoved makes sure that a rule without a record has never been anywhere but at legacy: no target
// name of it is there.
func (a *Agent) neverMoved(ctx context.Context, rule int) error {
	target := a.Plan.Names().Pair(rule).Target()
	for _, db := range a.Plan.Databases {
		found, err := a.store.AnyName(ctx, db, target.Glob(), target.Match)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%w (rule %s has target names and no control record)", ErrRestore, a.Plan.Rules[rule].Name)
		}
	}
	return nil
}
