package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// fleetRecords is what the control records say at one moment.
type fleetRecords struct {
	now       int64 // the server's clock, in microseconds
	instances []fleet.Instance
	targets   map[string]fleet.Target
}

// rules says where each rule of the plan is.
func (f *fleetRecords) rules(p *plan.Plan) []statusRule {
	out := make([]statusRule, 0, len(p.Rules))
	for i, r := range p.Rules {
		s := statusRule{Rule: r.Name, Strategy: r.Strategy.String(), WaitsFor: []statusWait{}}
		t, ok := f.targets[r.Name]
		for n := range f.instances {
			in := &f.instances[n]
			if in.Observer || in.Lost(f.now) {
				continue
			}
			s.Live++
			s.Reads += in.Rules[r.Name].Reads
			s.Fallbacks += in.Rules[r.Name].Fallbacks
			if ok && behindOf(in, r.Name, p.Hash(i), t) == "" {
				s.Reached++
			}
		}
		if ok {
			s.Phase, s.Parked, s.Frozen, s.Since, s.By = t.Phase.String(), t.Phase.Parked(), t.Frozen, t.At, t.By
			if next, more := phase.Next(r.Strategy, t.Phase, phase.Prefixed); more {
				s.Next = next.String()
				s.WaitsFor = f.waits(p, i, t, next)
			}
		}
		out = append(out, s)
	}
	return out
}

// behindOf says why an instance has not reached a target; "" where it has.
func behindOf(in *fleet.Instance, rule, hash string, t fleet.Target) string {
	state, knows := in.Rules[rule]
	switch {
	case !knows:
		return "its plan has no such rule"
	case state.Hash != hash:
		return "its plan has another rule of this name"
	case state.Mark == t.Mark && state.Epoch == t.Epoch:
		return ""
	case state.Behind != "":
		return state.Behind
	}
	return "it has not said so yet"
}

// waits is what a step waits for, and what the controller does before it.
func (f *fleetRecords) waits(p *plan.Plan, rule int, t fleet.Target, next phase.Phase) []statusWait {
	name := p.Rules[rule].Name
	out := []statusWait{}
	if t.Frozen {
		out = append(out, statusWait{What: "frozen", Text: "the freeze: rekey thaw ends it"})
	}
	if t.Hash != p.Hash(rule) {
		out = append(out, statusWait{What: "records", Text: "the records, which are of another rule of this name"})
	}
	var work []statusWait
	for _, in := range f.sorted() {
		who := nameOf(&in)
		why := behindOf(&in, name, p.Hash(rule), t)
		wait := statusWait{What: "instance", Name: who}
		switch {
		case in.Lost(f.now):
			wait.Text, wait.Work = fmt.Sprintf("closing the connections of %s, which is lost", who), true
			work = append(work, wait)
			continue
		case in.Observer:
			wait.Text = fmt.Sprintf("%s, an observer: it obeys flags and cannot be led", who)
		case why == "":
			continue
		default:
			wait.Text = fmt.Sprintf("%s: %s", who, why)
			if at := in.Rules[name].Phase; at != 0 && at != t.Phase {
				wait.Text = fmt.Sprintf("%s, still in %s: %s", who, at, why)
			}
		}
		out = append(out, wait)
	}
	step, ok := phase.StepBetween(p.Rules[rule].Strategy, t.Phase, next)
	if !ok {
		return out
	}
	return append(append(out, work...), stepWork(p, step)...)
}

// stepWork is what the controller does to prove that a step is safe.
func stepWork(p *plan.Plan, step phase.Step) []statusWait {
	var out []statusWait
	for _, g := range slices.Concat(step.Gates, step.Asked) {
		text := fmt.Sprintf("%s, to prove that %s", g.Sweep(), g.Proves())
		if g.Sweep() == "" {
			if p.Soak == 0 {
				continue
			}
			text = fmt.Sprintf("%s without a read that falls back to a legacy name", spanText(p.Soak))
		}
		out = append(out, statusWait{What: "gate", Name: g.String(), Text: text, Work: true})
	}
	if step.Audit {
		out = append(out, statusWait{What: "audit", Text: "audit, to prove that nobody is connected past rekey", Work: true})
	}
	return out
}

// sorted is the instances in the order of their names.
func (f *fleetRecords) sorted() []fleet.Instance {
	return slices.SortedFunc(slices.Values(f.instances), func(a, b fleet.Instance) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

// nameOf is how an instance is called in a sentence.
func nameOf(in *fleet.Instance) string { return cmp.Or(in.Name, shortID(in.ID)) }

// reported is the instances as they are printed.
func (f *fleetRecords) reported(p *plan.Plan) []statusInstance {
	out := make([]statusInstance, 0, len(f.instances))
	for _, in := range f.sorted() {
		s := statusInstance{
			ID: in.ID, Name: in.Name, Host: in.Host, PID: in.PID, Version: in.Version, Started: in.Started, State: stateLive,
			RenewedSeconds: micros(f.now - in.Renewed).Seconds(), LeaseSeconds: micros(in.Lease).Seconds(), Rules: []statusReached{},
		}
		switch {
		case in.Lost(f.now):
			s.State = stateLost
		case in.Observer:
			s.State = stateObserver
		}
		for i, r := range p.Rules {
			reached := statusReached{Rule: r.Name}
			if state, ok := in.Rules[r.Name]; ok && state.Phase != 0 {
				reached.Phase = state.Phase.String()
			}
			t, ok := f.targets[r.Name]
			if !ok {
				reached.Why = "nothing is recorded of it"
			} else if !in.Observer {
				reached.Why = behindOf(&in, r.Name, p.Hash(i), t)
			}
			reached.Reached = ok && !in.Observer && reached.Why == ""
			s.Rules = append(s.Rules, reached)
		}
		out = append(out, s)
	}
	return out
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
