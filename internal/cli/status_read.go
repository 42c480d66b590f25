package cli

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// statusOf says what the records mean.
func statusOf(p *plan.Plan, server *serverReport, s *control.Status) *statusReport {
	r := &statusReport{
		Type: "status", Plan: p.File, Environment: p.Environment, At: s.At,
		Server:  &statusServer{URL: server.URL, Flavor: server.Flavor, Version: server.Version, Role: server.Role, Replicas: server.Replicas},
		Control: controlOf(s), Rules: []statusRule{}, Instances: []statusInstance{}, Findings: findingsOf(p, s),
	}
	for i := range s.Rules {
		r.Rules = append(r.Rules, ruleOf(p, i, &s.Rules[i]))
	}
	for i := range s.Instances {
		r.Instances = append(r.Instances, instanceOf(p, s, &s.Instances[i]))
	}
	r.Next = nextOf(r)
	return r
}

// controlOf is who walks the fleet.
func controlOf(s *control.Status) statusControl {
	var out statusControl
	if s.Lock != nil {
		out.Generation = s.Lock.Gen
		if s.Locked {
			out.Owner = s.Lock.Owner
			out.SecondsLeft = time.UnixMicro(s.Lock.Until).Sub(s.At).Seconds()
		}
	}
	if gen, err := strconv.ParseInt(s.Gen, 10, 64); err == nil {
		out.Generation = max(out.Generation, gen)
	}
	return out
}

// ruleOf is one rule.
func ruleOf(p *plan.Plan, rule int, s *control.RuleStatus) statusRule {
	out := statusRule{
		Rule: s.Rule, Strategy: s.Strategy, Frozen: s.Frozen, Reached: s.Reached, Live: s.Live, Reads: s.Reads, Fallbacks: s.Fallbacks,
		Phases: s.Phases, WaitsFor: []statusWait{},
	}
	if s.Target == nil {
		return out
	}
	at := s.Target.Phase
	out.Phase, out.Parked, out.Since, out.By = at.String(), at.Parked(), s.Target.At, s.Target.By
	if s.Forward != nil {
		out.Next = s.Forward.To.String()
		out.WaitsFor = waitsOf(s.Forward, p.Soak)
	}
	return out
}

// waitsOf is what a step waits for: what blocks it, then what the controller does before it.
func waitsOf(step *control.Step, soak time.Duration) []statusWait {
	blocked, work := []statusWait{}, []statusWait(nil)
	for _, b := range step.Blockers {
		w := statusWait{What: string(b.Reason), Name: b.Name, Text: b.Text, Try: b.Try}
		switch b.Reason {
		case control.Unproven, control.Asked, control.Strangers:
			continue // they are said below
		case control.Lost, control.Unburied:
			w.Work = true
			work = append(work, w)
		default:
			blocked = append(blocked, w)
		}
	}
	for _, g := range step.Gates {
		// Without a soak that gate holds by itself.
		if !g.Holds && (g.Sweep != "" || soak > 0) {
			work = append(work, gateWait(g, soak))
		}
	}
	if step.Audit {
		work = append(work, statusWait{What: string(control.Strangers), Text: "audit, to prove that nobody is connected past rekey", Work: true})
	}
	return append(blocked, work...)
}

// gateWait is what proves a gate.
func gateWait(g control.GateState, soak time.Duration) statusWait {
	w := statusWait{What: string(control.Unproven), Name: g.Gate, Text: fmt.Sprintf("%s, to prove that %s", g.Sweep, g.Proves), Work: true}
	if g.Asked {
		w.What = string(control.Asked)
	}
	if g.Sweep == "" {
		span := spanText(soak)
		if soak < time.Second {
			span = soak.String()
		}
		w.Text = fmt.Sprintf("a soak of %s, in which no read falls back to a legacy name", span)
	}
	// That it is still to be done need not be said; what came of it the last time must.
	if g.Why != "" && !strings.Contains(g.Why, "has not run") && !strings.Contains(g.Why, "has not begun") {
		w.Text += ": " + g.Why
	}
	return w
}

// instanceOf is one instance.
func instanceOf(p *plan.Plan, s *control.Status, in *control.InstanceStatus) statusInstance {
	out := statusInstance{
		ID: in.ID, Name: in.Name, Host: in.Host, PID: in.PID, Version: in.Version, Started: in.Started, State: stateLive,
		RenewedSeconds: in.Age.Seconds(), LeaseSeconds: (time.Duration(in.Lease) * time.Microsecond).Seconds(), Note: in.Note,
		Rules: []statusReached{},
	}
	switch {
	case in.Bad != "":
		out.State, out.Note = stateUnreadable, in.Bad
		return out
	case in.Lost:
		out.State = stateLost
	case in.Observer:
		out.State = stateObserver
	}
	for i, r := range p.Rules {
		reached := statusReached{Rule: r.Name}
		state, knows := in.Rules[r.Name]
		if knows && state.Phase != 0 {
			reached.Phase = state.Phase.String()
		}
		if !in.Observer {
			reached.Why = behindOf(&state, knows, p.Hash(i), s.Rules[i].Target)
			reached.Reached = reached.Why == ""
		}
		out.Rules = append(out.Rules, reached)
	}
	return out
}

// behindOf says why an instance has not reached a target; "" where it has.
func behindOf(state *fleet.RuleState, knows bool, hash string, t *fleet.Target) string {
	switch {
	case !knows:
		return "its plan has no such rule"
	case state.Hash != hash:
		return "its plan has another rule of this name"
	case t == nil:
		return "no record says where it should be"
	case state.Mark == t.Mark && state.Epoch == t.Epoch:
		return ""
	}
	return cmp.Or(state.Behind, "it has not said that it has reached "+t.Phase.String())
}
