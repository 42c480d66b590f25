package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Evidence is what is recorded of a fleet that obeys flags.
type Evidence struct {
	plan   *plan.Plan
	client *redis.Client
}

// OpenEvidence connects to the plan's server, in the database of the control keys. It sends
// nothing yet.
func OpenEvidence(p *plan.Plan) (*Evidence, error) {
	o, err := Options(p.Server)
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled = true // its caller bounds each look, for the flags are locked meanwhile
	return &Evidence{plan: p, client: Client(o, p.Databases[0])}, nil
}

// Close closes the connections.
func (e *Evidence) Close() error { return e.client.Close() }

// Entered records that this process is now in a phase of a rule. Parked phases are not
// recorded: a healthy application writes nothing while nothing moves.
func (e *Evidence) Entered(ctx context.Context, rule string, p phase.Phase) error {
	if p.Parked() {
		return nil
	}
	now, err := e.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("rekey: read the server's time: %w", err)
	}
	if err := e.client.HSet(ctx, e.enteredKey(rule), p.String(), now.UnixMicro()).Err(); err != nil {
		return fmt.Errorf("rekey: record the phase: %w", err)
	}
	return nil
}

// enteredKey is a hash: phase to the microsecond, by the server's clock, of its last entering.
func (e *Evidence) enteredKey(rule string) string { return e.plan.ControlPrefix() + "flags:" + rule }

// Proven returns the gates of a step that nothing proves now, in the order of the step. A sweep proves one if it began after
// the last process entered any of some phases.
func (e *Evidence) Proven(ctx context.Context, rule int, step phase.Step, after []phase.Phase) (missing []phase.Gate, err error) {
	_, since, err := e.LastEntered(ctx, rule, after)
	if err != nil {
		return nil, err
	}
	for _, gate := range step.Gates {
		v, err := e.verdict(ctx, e.plan.Rules[rule].Name, gate.Sweep())
		if err != nil {
			return nil, err
		}
		if !v.proves(gate, e.plan.Hash(rule), since) {
			missing = append(missing, gate)
		}
	}
	return missing, nil
}

// LastEntered is which of some phases a process entered last, and when by the server's clock; 0 where none was. Parked
// phases are not recorded.
func (e *Evidence) LastEntered(ctx context.Context, rule int, of []phase.Phase) (last phase.Phase, at time.Time, err error) {
	entered, err := e.client.HGetAll(ctx, e.enteredKey(e.plan.Rules[rule].Name)).Result()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("rekey: read the recorded phases: %w", err)
	}
	var micros int64
	for _, p := range of {
		text, ok := entered[p.String()]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("rekey: recorded phase %v of rule %s: %w", p, e.plan.Rules[rule].Name, err)
		}
		if n > micros {
			last, micros = p, n
		}
	}
	return last, time.UnixMicro(micros), nil
}

// verdict is what a process reads of a sweep's verdict; the sweeps write more.
type verdict struct {
	RuleHash string    `json:"rule_hash"`
	Started  time.Time `json:"started"`
	Gates    []struct {
		Gate  string `json:"gate"`
		Holds bool   `json:"holds"`
	} `json:"gates"`
}

// verdict reads the last verdict of a sweep over a rule; a zero one if there is none.
func (e *Evidence) verdict(ctx context.Context, rule, sweep string) (v verdict, err error) {
	data, err := e.client.Get(ctx, e.plan.ControlPrefix()+"sweep:"+sweep+":"+rule).Bytes()
	if errors.Is(err, redis.Nil) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("rekey: read the verdict of %s: %w", sweep, err)
	}
	record := struct {
		Verdict *verdict `json:"verdict"`
	}{&v}
	if err := json.Unmarshal(data, &record); err != nil {
		return verdict{}, fmt.Errorf("rekey: verdict of %s of rule %s: %w", sweep, rule, err)
	}
	return v, nil
}

func (v *verdict) proves(gate phase.Gate, hash string, after time.Time) bool {
	if v.RuleHash != hash || !v.Started.After(after) {
		return false
	}
	return slices.ContainsFunc(v.Gates, func(g struct {
		Gate  string `json:"gate"`
		Holds bool   `json:"holds"`
	}) bool {
		return g.Gate == gate.String() && g.Holds
	})
}
