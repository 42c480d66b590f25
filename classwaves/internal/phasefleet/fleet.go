// Package phasefleet walks a fleet of ClassWaves' plan through the phases as an operator does: one process
// after the other, each step begun when the whole fleet is in the one before it and its gates are proven
// by sweeps. It is for tests only.
package phasefleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// stepWithin is how long a process may take to reach a phase.
const stepWithin = 30 * time.Second

// Fleet is some processes on one server. Its rules walk; the other ones of the plan stay at legacy.
type Fleet struct {
	// Plan is ClassWaves' plan in the fleet's environment.
	Plan *plan.Plan
	// Members are the processes.
	Members []*Member
	// Between, if not nil, is called after each process's step, when the fleet is mixed, and once more
	// when it is not.
	Between func()
	// Claim is the operator's word that the legacy names are all of the fleet's environment, although
	// another one has names in the database.
	Claim bool
	// Ungated leaves the sweeps out: what a walk by plain flags does.
	Ungated bool

	t     testing.TB
	bare  *redis.Client
	rules []plan.Rule
	now   map[phase.Strategy]phase.Phase
}

// Member is one process.
type Member struct {
	Rekey  *rekey.Rekey
	Client *redis.Client // through rekey
	source *rekey.Manual
}

// Start makes a fleet of n processes in an environment, at legacy. The rules named walk; none: all.
func Start(t testing.TB, server *redistest.Server, environment string, n int, rules ...string) *Fleet {
	t.Helper()
	return StartAt(t, server, environment, n, phase.Legacy, rules...)
}

// StartAt makes a fleet that is parked at legacy or at prefixed.
func StartAt(t testing.TB, server *redistest.Server, environment string, n int, at phase.Phase, rules ...string) *Fleet {
	t.Helper()
	if !at.Parked() {
		t.Fatalf("a fleet begins at legacy or at prefixed, not at %v", at)
	}
	p := planIn(t, environment)
	f := &Fleet{Plan: p, t: t, bare: server.Client(), now: map[phase.Strategy]phase.Phase{phase.Mirror: at, phase.Relocate: at}}
	for _, r := range p.Rules {
		if len(rules) == 0 || slices.Contains(rules, r.Name) {
			f.rules = append(f.rules, r)
		}
	}
	if len(rules) > 0 && len(f.rules) != len(rules) {
		t.Fatalf("the plan has not all of the rules %q", rules)
	}
	for range n {
		f.join(server)
	}
	return f
}

// join adds a process at the fleet's phases.
func (f *Fleet) join(server *redistest.Server) {
	f.t.Helper()
	phases := make(map[string]phase.Phase)
	for _, r := range f.rules {
		phases[r.Name] = f.now[r.Strategy]
	}
	m := &Member{source: rekey.NewManual(phases)}
	r, err := rekey.Open(context.WithoutCancel(f.t.Context()), f.Plan, rekey.WithSource(m.source))
	if err != nil {
		f.t.Fatal(err)
	}
	m.Rekey = r
	m.Client = redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	f.t.Cleanup(func() {
		for rule, s := range r.Stats().Rules {
			if s.Divergences != 0 || s.Refused != 0 {
				f.t.Errorf("rule %s: %d divergences, %d refused, want none", rule, s.Divergences, s.Refused)
			}
		}
		_ = m.Client.Close() // the test may have closed it
		if err := r.Close(); err != nil {
			f.t.Error(err)
		}
	})
	f.Members = append(f.Members, m)
}

// Phase is where the fleet's rules of a strategy are.
func (f *Fleet) Phase(s phase.Strategy) phase.Phase { return f.now[s] }

// Walk takes the fleet's rules of a strategy to a phase, step by step. It fails the test at a gate that
// does not hold.
func (f *Fleet) Walk(s phase.Strategy, goal phase.Phase) {
	f.t.Helper()
	for f.now[s] != goal {
		next, ok := phase.Next(s, f.now[s], goal)
		if !ok {
			f.t.Fatalf("there is no way from %v to %v", f.now[s], goal)
		}
		step, ok := phase.StepBetween(s, f.now[s], next)
		if !ok {
			f.t.Fatalf("there is no step from %v to %v", f.now[s], next)
		}
		if !f.Ungated {
			f.prove(step)
		}
		f.step(s, next)
	}
}

// step takes one process after the other to a phase.
func (f *Fleet) step(s phase.Strategy, next phase.Phase) {
	f.t.Helper()
	for i := range f.Members {
		f.Move(i, s, next)
		if i == len(f.Members)-1 {
			f.now[s] = next
		}
		if f.Between != nil {
			f.Between()
		}
	}
}

// Move takes one process alone to a phase, whatever the others are in, and waits until it has reached it.
func (f *Fleet) Move(i int, s phase.Strategy, p phase.Phase) {
	f.t.Helper()
	m := f.Members[i]
	goal := make(map[string]phase.Phase)
	for _, r := range f.rules {
		if r.Strategy == s {
			goal[r.Name] = p
		}
	}
	Lead(f.t, m.Rekey, m.source, goal)
}

// prove runs the sweeps of a step's gates.
func (f *Fleet) prove(step phase.Step) {
	f.t.Helper()
	for _, r := range f.rules {
		if r.Strategy != step.Strategy {
			continue
		}
		for _, g := range slices.Concat(step.Gates, step.Asked) {
			if g.Sweep() == "" {
				continue
			}
			if holds, reason := f.Sweep(r.Name, g, step.From); !holds {
				f.t.Fatalf("rule %s, %v to %v, gate %v: %s", r.Name, step.From, step.To, g, reason)
			}
		}
	}
}

// RuleNames are the rules of a strategy that walk.
func (f *Fleet) RuleNames(s phase.Strategy) (names []string) {
	for _, r := range f.rules {
		if r.Strategy == s {
			names = append(names, r.Name)
		}
	}
	return names
}

// Sweep runs the sweep of a gate over a rule in a phase, and tells whether the gate holds, and if not why.
func (f *Fleet) Sweep(rule string, g phase.Gate, at phase.Phase) (holds bool, reason string) {
	f.t.Helper()
	kind, err := sweep.ParseKind(g.Sweep())
	if err != nil {
		f.t.Fatal(err)
	}
	result, err := sweep.Run(f.t.Context(), sweep.Options{
		Client: f.bare, Plan: f.Plan, Rule: rule, Kind: kind, Phase: at,
		Execute:      kind == sweep.Purge || kind == sweep.Cleanup,
		RemoveStrays: kind == sweep.Cleanup && at == phase.Sealed,

		ClaimSharedLegacy: kind == sweep.Purge && f.Claim,
	})
	if err != nil {
		f.t.Fatalf("rule %s: %v", rule, err)
	}
	return result.Verdict.Holds(g)
}
