package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Status is a fleet as its records have it at one moment.
type Status struct {
	Environment string    `json:"environment"`
	Prefix      string    `json:"control_prefix"`
	At          time.Time `json:"at"` // by the server's clock
	// Empty: there are no records at all, of no fleet that ever was.
	Empty     bool             `json:"empty"`
	Lock      *Holder          `json:"lock,omitempty"` // who controls the fleet
	Locked    bool             `json:"locked"`         // and whether its time has not run out
	Gen       string           `json:"gen,omitempty"`
	Replicas  int              `json:"replicas"`
	Rules     []RuleStatus     `json:"rules"`     // those of the plan, in its order
	Elsewhere []string         `json:"elsewhere"` // rules that records have and the plan does not
	Instances []InstanceStatus `json:"instances"`
	// Audit is the last audit for strangers, where there was one.
	Audit *AuditReport `json:"audit,omitempty"`
}

// RuleStatus is one rule.
type RuleStatus struct {
	Rule     string        `json:"rule"`
	Strategy string        `json:"strategy"`
	Target   *fleet.Target `json:"target,omitempty"` // nil: there is no control record
	Frozen   bool          `json:"frozen"`
	// Reached is how many of the Live instances are in the target's phase.
	Reached   int    `json:"reached"`
	Live      int    `json:"live"`
	Reads     uint64 `json:"reads"` // of all instances
	Fallbacks uint64 `json:"fallbacks"`
	// Phases is how many live instances are in which phase.
	Phases map[string]int `json:"phases"`
	// Forward and Back are the next steps; nil at the end.
	Forward *Step `json:"forward,omitempty"`
	Back    *Step `json:"back,omitempty"`
}

// InstanceStatus is one instance.
type InstanceStatus struct {
	fleet.Instance
	Age  time.Duration `json:"age_ns"`         // since its lease was renewed
	Lost bool          `json:"lost"`           // its lease has run out
	Bad  string        `json:"bad,omitempty"`  // its record cannot be read
	Note string        `json:"note,omitempty"` // what is unsafe about it
}

// Read gives the fleet as it is. It changes nothing and needs no lock.
func Read(ctx context.Context, store *fleet.Store, p *plan.Plan) (Status, error) {
	s, err := takeSnapshot(ctx, store, p)
	if err != nil {
		return Status{}, err
	}
	out := Status{
		Environment: p.Environment, Prefix: p.ControlPrefix(), At: time.UnixMicro(s.now).UTC(), Gen: s.gen, Replicas: s.server.replicas,
		Empty: len(s.texts) == 0 && len(s.instances)+len(s.broken) == 0,
		Rules: make([]RuleStatus, 0, len(p.Rules)), Elsewhere: s.elsewhere(p), Instances: s.statuses(),
	}
	if s.lock != "" {
		holder, err := parseHolder(s.lock)
		if err != nil {
			return Status{}, err
		}
		out.Lock, out.Locked = &holder, holder.Until > s.now
	}
	g := gateRules{plan: p, keys: store.Keys(), soak: p.Soak}
	for i := range p.Rules {
		out.Rules = append(out.Rules, g.ruleStatus(s, i))
	}
	report, ok, err := LastAudit(ctx, store)
	if ok {
		out.Audit = &report
	}
	return out, err
}

func (g gateRules) ruleStatus(s *snapshot, rule int) RuleStatus {
	r := g.plan.Rules[rule]
	out := RuleStatus{Rule: r.Name, Strategy: r.Strategy.String(), Phases: make(map[string]int)}
	target, known := s.targets[r.Name]
	if known {
		out.Target, out.Frozen = &target, target.Frozen
	}
	for i := range s.instances {
		one := &s.instances[i]
		state, knows := one.Rules[r.Name]
		out.Reads += state.Reads
		out.Fallbacks += state.Fallbacks
		if one.Lost(s.now) || !knows {
			continue
		}
		out.Live++
		if state.Phase != 0 {
			out.Phases[state.Phase.String()]++
		}
		if known && state.Epoch == target.Epoch && state.Mark == target.Mark {
			out.Reached++
		}
	}
	ends := phase.Walk(r.Strategy)
	if step, ok := g.nextStep(s, rule, ends[len(ends)-1], aside{}); ok {
		out.Forward = &step
	}
	if step, ok := g.nextStep(s, rule, ends[0], aside{}); ok {
		out.Back = &step
	}
	return out
}

// elsewhere are the rules that somebody knows and the plan does not.
func (s *snapshot) elsewhere(p *plan.Plan) []string {
	var out []string
	add := func(rule string) {
		if _, ok := p.Index(rule); !ok && !slices.Contains(out, rule) {
			out = append(out, rule)
		}
	}
	for rule := range s.texts {
		add(rule)
	}
	for i := range s.instances {
		for rule := range s.instances[i].Rules {
			add(rule)
		}
	}
	slices.Sort(out)
	return out
}

func (s *snapshot) statuses() []InstanceStatus {
	out := make([]InstanceStatus, 0, len(s.instances)+len(s.broken))
	for _, one := range s.instances {
		i := InstanceStatus{Instance: one, Age: age(&one, s.now), Lost: one.Lost(s.now)}
		switch {
		case one.Format != fleet.Format:
			i.Note = fmt.Sprintf("it writes records of format %d and this program of format %d; bring both to one version", one.Format, fleet.Format)
		case one.Observer:
			i.Note = "it obeys flags and not the fleet, so its phases can change at any time, and no step waits for it; open it with the fleet, or stop it"
		}
		out = append(out, i)
	}
	for _, b := range s.broken {
		out = append(out, InstanceStatus{Instance: fleet.Instance{ID: b.id, Name: b.name}, Bad: b.err.Error()})
	}
	return out
}

// Planned is one step that a walk would make.
type Planned struct {
	Rule string      `json:"rule"`
	From phase.Phase `json:"from"`
	Step
}

// Preview says which steps would be made to take rules to a goal each, in order of the rules; blockers are
// known for the first step of each only. It changes nothing.
func (o Options) Preview(ctx context.Context, store *fleet.Store, p *plan.Plan, goals []Goal) ([]Planned, error) {
	s, err := takeSnapshot(ctx, store, p)
	if err != nil {
		return nil, err
	}
	g := o.gateRules(p, store.Keys())
	var out []Planned
	for _, goal := range goals {
		rule, err := goal.check(p)
		if err != nil {
			return nil, err
		}
		at := phase.Legacy
		if t, ok := s.targets[goal.Rule]; ok {
			at = t.Phase
		}
		first, more := g.nextStep(s, rule, goal.To, o.aside())
		if !more || goal.Way.wrong(first.Back) {
			continue
		}
		out = append(out, Planned{goal.Rule, at, first})
		for at = first.To; at != goal.To && goal.Steps != 1; {
			to, _ := phase.Next(p.Rules[rule].Strategy, at, goal.To)
			way, ok := phase.StepBetween(p.Rules[rule].Strategy, at, to)
			if !ok {
				break
			}
			step := Step{To: to, Back: way.Back, Audit: way.Audit || first.Audit && s.live() == 0}
			for _, gate := range slices.Concat(way.Gates, way.Asked) {
				if asked := slices.Contains(way.Asked, gate); !asked || !slices.Contains(o.SkipAsked, gate) {
					step.Gates = append(step.Gates, GateState{Gate: gate.String(), Proves: gate.Proves(), Sweep: gate.Sweep(), Asked: asked})
				}
			}
			out = append(out, Planned{goal.Rule, at, step})
			at = to
		}
	}
	return out, nil
}

func (o Options) aside() aside { return aside{noInstances: o.NoInstances, forget: o.Forget} }

func (o Options) gateRules(p *plan.Plan, k fleet.Keys) gateRules {
	soak := o.Soak
	if soak == 0 {
		soak = p.Soak
	}
	return gateRules{plan: p, keys: k, soak: soak, skip: o.SkipAsked}
}
