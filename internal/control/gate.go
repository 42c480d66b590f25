package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// reachedRecord says that every live instance was seen to have reached a target, and when. A sweep proves
// something about the target's phase only if it began after that.
type reachedRecord struct {
	Epoch string     `json:"epoch"`
	Mark  fleet.Mark `json:"mark"`
	RunID string     `json:"run_id"`
	At    int64      `json:"at"` // microseconds of the server's clock
}

// quietRecord is a soak under way: what each instance had counted when it began, or when the instance came.
type quietRecord struct {
	Epoch     string            `json:"epoch"`
	Mark      fleet.Mark        `json:"mark"`
	Fallbacks map[string]uint64 `json:"fallbacks"` // by instance
	At        int64             `json:"at"`
}

func readRecord[T any](s *snapshot, key string) (record T, ok bool) {
	text := s.evidence[key]
	return record, text != "" && json.Unmarshal([]byte(text), &record) == nil
}

// reached says since when all instances are seen to have reached a rule's target.
func (s *snapshot) reached(k fleet.Keys, rule string, target fleet.Target) (time.Time, bool) {
	r, ok := readRecord[reachedRecord](s, k.Sweep(reachedKind, rule))
	if !ok || r.Epoch != target.Epoch || r.Mark != target.Mark || r.RunID != s.server.runID {
		return time.Time{}, false
	}
	return time.UnixMicro(r.At), true
}

// verifiedFor is how long a verify counts. What it found equal stays so by the protocol, which is what it is to check: a
// program outside rekey may write at any time.
const verifiedFor = 24 * time.Hour

// gateRules are what a gate is judged by.
type gateRules struct {
	plan *plan.Plan
	keys fleet.Keys
	soak time.Duration
	skip []phase.Gate
}

// gates judges all gates of a step by the evidence in the records.
func (g gateRules) gates(s *snapshot, rule int, target fleet.Target, step phase.Step) (out []GateState) {
	for _, gate := range slices.Concat(step.Gates, step.Asked) {
		state := GateState{Gate: gate.String(), Proves: gate.Proves(), Sweep: gate.Sweep(), Asked: slices.Contains(step.Asked, gate)}
		switch {
		case state.Asked && slices.Contains(g.skip, gate):
			continue
		case gate == phase.Quiet:
			state.Holds, state.Why = g.quiet(s, rule, target)
		default:
			state.Holds, state.Why = g.proven(s, rule, target, gate)
		}
		out = append(out, state)
	}
	return out
}

// proven judges a gate by the verdict of its sweep.
func (g gateRules) proven(s *snapshot, rule int, target fleet.Target, gate phase.Gate) (bool, string) {
	name := g.plan.Rules[rule].Name
	v, ok := s.verdict(g.keys, gate.Sweep(), name)
	if !ok {
		return false, gate.Sweep() + " has not run, or is running"
	}
	since, reached := s.reached(g.keys, name, target)
	switch {
	case v.RuleHash != g.plan.Hash(rule) || v.Phase != target.Phase:
		return false, fmt.Sprintf("the last %s was of another phase or another plan", gate.Sweep())
	case !reached:
		return false, "the fleet was not seen to reach " + target.Phase.String()
	case !v.Started.After(since):
		return false, fmt.Sprintf("the last %s began before the whole fleet had reached %s", gate.Sweep(), target.Phase)
	case gate == phase.Verified && time.UnixMicro(s.now).Sub(v.Ended) > verifiedFor:
		return false, fmt.Sprintf("the last %s ended more than %v ago", gate.Sweep(), verifiedFor)
	case v.RunID != s.server.runID || v.ReplicationID != s.server.replicationID:
		return false, fmt.Sprintf("since the last %s there was a restart or a failover", gate.Sweep())
	}
	return v.Holds(gate)
}

// quiet judges a soak: since it began nobody has counted a fallback, and everybody has said so after its end.
func (g gateRules) quiet(s *snapshot, rule int, target fleet.Target) (bool, string) {
	if g.soak <= 0 {
		return true, ""
	}
	name := g.plan.Rules[rule].Name
	r, ok := readRecord[quietRecord](s, g.keys.Sweep(quietKind, name))
	if !ok || r.Epoch != target.Epoch || r.Mark != target.Mark {
		return false, fmt.Sprintf("the soak of %v has not begun", g.soak)
	}
	if noise, _ := s.noise(name, r.Fallbacks); noise != "" {
		return false, noise
	}
	until := r.At + g.soak.Microseconds()
	if s.now < until {
		return false, fmt.Sprintf("nobody has read a legacy key since %v, and the soak takes %v",
			(time.Duration(s.now-r.At) * time.Microsecond).Round(time.Second), g.soak)
	}
	for i := range s.instances {
		if one := &s.instances[i]; !one.Lost(s.now) && one.Renewed < until {
			return false, title(one) + " has not yet said what it read to the end of the soak"
		}
	}
	return true, ""
}

// noise says why the soak that began with these counts has to begin anew, and what to do if that goes on: a live
// instance has counted a fallback, or one is gone, and with it what it had counted since its last renewal.
func (s *snapshot) noise(rule string, before map[string]uint64) (why, try string) {
	live := make(map[string]bool, len(s.instances))
	for i := range s.instances {
		one := &s.instances[i]
		if one.Lost(s.now) {
			continue
		}
		live[one.ID] = true
		if one.Rules[rule].Fallbacks != before[one.ID] {
			return title(one) + " has read a legacy key since the soak began",
				"no instance should write a legacy key alone: look for strangers with rekey audit --monitor 10s"
		}
	}
	for id := range before {
		if !live[id] {
			return "an instance has gone since the soak began, and nobody knows what it read last",
				"soak while no instance is restarted, or for a shorter time with --soak"
		}
	}
	return "", ""
}

// fallbacks are what the instances have counted.
func (s *snapshot) fallbacks(rule string) map[string]uint64 {
	out := make(map[string]uint64, len(s.instances))
	for i := range s.instances {
		out[s.instances[i].ID] = s.instances[i].Rules[rule].Fallbacks
	}
	return out
}

// nextStep is the next step of a rule towards a goal, with all that holds it up. It is false at the goal.
func (g gateRules) nextStep(s *snapshot, rule int, goal phase.Phase, words aside) (Step, bool) {
	r := g.plan.Rules[rule]
	target, ok := s.targets[r.Name]
	if !ok {
		target.Phase = phase.Legacy // which it is if it turns out to have moved never
	}
	to, ok := phase.Next(r.Strategy, target.Phase, goal)
	if !ok {
		return Step{}, false
	}
	way, ok := phase.StepBetween(r.Strategy, target.Phase, to)
	if !ok {
		return Step{}, false
	}
	step := Step{To: to, Back: way.Back, Audit: way.Audit || words.noInstances && s.live() == 0, Blockers: blockers(s, r.Name, g.plan.Hash(rule), words)}
	step.Gates = g.gates(s, rule, target, way)
	for _, gate := range step.Gates {
		if gate.Holds {
			continue
		}
		b := Blocker{Reason: Unproven, Gate: gate.Gate, Passes: true, Text: fmt.Sprintf("it is not proven that %s: %s", gate.Proves, gate.Why)}
		if gate.Asked {
			b.Reason = Asked
		}
		step.Blockers = append(step.Blockers, b)
	}
	return step, true
}
