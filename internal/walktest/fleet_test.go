package walktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// testPlan has a rule of each strategy; the rule's name is what its keys begin with.
const testPlan = `
version: 1
environment: test
rules:
  - {name: mirror, legacy: "mirror:{id...}", target: "cw:{env}:mirror:{id...}", strategy: mirror}
  - {name: move, legacy: "move:{id...}", target: "cw:{env}:move:{id...}", strategy: move}
`

// target is the target name of a key.
func target(key string) string { return "cw:test:" + key }

// instance is one process of the application.
type instance struct {
	r       *rekey.Rekey
	source  *rekey.Manual
	clients []client
}

// fleet is the instances, and the operator who takes them from phase to phase.
type fleet struct {
	plan      *plan.Plan
	bare      *redis.Client // for the operator's sweeps
	instances []*instance
	rng       *rand.Rand

	changes atomic.Int64 // of an instance, so far
	pause   int64        // operations between two changes
	patient bool         // begins a sweep again that the server did not let end

	// What a careless operator does.
	omit  []phase.Gate // goes on without their sweeps
	leaps bool         // makes steps that there are not
}

const instances = 4

// newFleet opens the instances in the first phases of the routes, each with three clients and the
// address at which it finds the server.
func newFleet(t *testing.T, server *redistest.Server, seed uint64, addr func(instance int) string, routes ...route) *fleet {
	t.Helper()
	p, err := plan.Parse("walk.yaml", []byte(testPlan), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{plan: p, bare: server.Client(), rng: rand.New(rand.NewPCG(seed, 1<<32)), pause: 120}
	phases := make(map[string]phase.Phase)
	for _, r := range routes {
		phases[r.rule] = r.phases[0]
	}
	for i := range instances {
		in := &instance{source: rekey.NewManual(phases)}
		if in.r, err = rekey.Open(t.Context(), p, rekey.WithSource(in.source)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for _, c := range in.clients {
				_ = c.close() // one whose connection was cut says so
			}
			if err := in.r.Close(); err != nil {
				t.Error(err)
			}
		})
		to := addr(i)
		three := newGoRedis(redis.Options{Addr: to, Dialer: in.r.Dialer(nil)})
		two := newGoRedis(redis.Options{Addr: to, Dialer: in.r.Dialer(nil), Protocol: 2})
		rue, err := newRueidis(rueidis.ClientOption{InitAddress: []string{to}, DialCtxFn: in.r.DialCtxFn()})
		if err != nil {
			t.Fatal(err)
		}
		in.clients = []client{three, two, rue}
		f.instances = append(f.instances, in)
	}
	return f
}

func direct(server *redistest.Server) func(int) string {
	return func(int) string { return server.Addr() }
}

// clients are those of all instances.
func (f *fleet) clients() (all []client) {
	for _, in := range f.instances {
		all = append(all, in.clients...)
	}
	return all
}

// any is one of the clients.
func (f *fleet) any() client {
	all := f.clients()
	return all[f.rng.IntN(len(all))]
}

// step takes the whole fleet over one step: the sweeps of its gates while all are in the first
// phase, then one instance after the other, each with traffic before the next, and at last waits
// until nothing of the first phase is under way.
func (f *fleet) step(ctx context.Context, tr *traffic, rule string, from, to phase.Phase) error {
	i, _ := f.plan.Index(rule)
	step, ok := phase.StepBetween(f.plan.Rules[i].Strategy, from, to)
	if !ok && !f.leaps {
		return fmt.Errorf("%s has no step from %v to %v", rule, from, to)
	}
	for _, gate := range append(step.Gates, step.Asked...) {
		if slices.Contains(f.omit, gate) {
			continue
		}
		if err := f.again(ctx, func() error { return f.prove(ctx, rule, from, gate) }); err != nil {
			return fmt.Errorf("gate %v of %v to %v: %w", gate, from, to, err)
		}
	}
	for _, n := range f.rng.Perm(len(f.instances)) {
		f.instances[n].source.Set(map[string]phase.Phase{rule: to})
		f.changes.Add(1)
		if err := tr.more(f.pause); err != nil {
			return err
		}
	}
	for _, in := range f.instances {
		if err := f.reached(ctx, in, rule, to); err != nil {
			return fmt.Errorf("%v to %v: %w", from, to, err)
		}
	}
	if to == phase.Dual || to == phase.Drain {
		return nil // a read copies there, and would leave nothing to the sweeps
	}
	return tr.readAll(f.any())
}

// reached waits until an instance is in a phase and nothing of an earlier one is under way.
func (f *fleet) reached(ctx context.Context, in *instance, rule string, p phase.Phase) error {
	if err := until(ctx, "phase "+p.String(), func() (bool, error) { return in.r.Phases()[rule] == p, nil }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return in.r.WaitReached(ctx)
}

// route is the phases that a rule goes through.
type route struct {
	rule   string
	phases []phase.Phase
}

// walk takes the rules over their routes; where there are several, a step of one comes between
// those of another.
func (f *fleet) walk(ctx context.Context, tr *traffic, routes ...route) error {
	at := make([]int, len(routes))
	for {
		var open []int
		for i, r := range routes {
			if at[i]+1 < len(r.phases) {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return tr.readAll(f.any())
		}
		i := open[f.rng.IntN(len(open))]
		r := routes[i]
		if err := f.step(ctx, tr, r.rule, r.phases[at[i]], r.phases[at[i]+1]); err != nil {
			return fmt.Errorf("rule %s: %w", r.rule, err)
		}
		at[i]++
		if r.phases[at[i]] == phase.Prefixed {
			if err := tr.remove(f.any(), r.rule); err != nil {
				return err
			}
		}
		if err := f.again(ctx, func() error { return f.plant(ctx, tr, r.rule, r.phases[at[i]:]) }); err != nil {
			return err
		}
	}
}

// maxRefused is how often a gate may say no to a patient operator: a sweep over a restart of the
// server proves nothing and asks to be run again.
const maxRefused = 5

// again does the operator's work, and where he is patient once more when it fails.
func (f *fleet) again(ctx context.Context, work func() error) error {
	if !f.patient {
		return work()
	}
	var last error
	refused := 0
	err := until(ctx, "the operator", func() (bool, error) {
		if last = work(); errors.Is(last, errGate) {
			if refused++; refused > maxRefused {
				return false, last
			}
		}
		return last == nil, nil
	})
	if err != nil && !errors.Is(err, last) {
		return errors.Join(err, last)
	}
	return err
}

// plant writes what nobody may see, as the rule arrives at the first of the phases that are left of
// its route: at legacy, what an earlier try left under the target names; at prefixed, what a program
// that nobody has told of it writes under the legacy names. The gates of the way on keep it from
// being read. On the way from prefixed to drain there is no gate, but the audit for such programs.
func (f *fleet) plant(ctx context.Context, tr *traffic, rule string, phases []phase.Phase) error {
	name := func(key string) string { return key }
	switch {
	case f.leaps || len(phases) < 2:
		return nil
	case phases[0] == phase.Legacy:
		name = target
	case phases[0] != phase.Prefixed || phases[1] != phase.Sealed:
		return nil
	}
	return tr.each(func(k kind, key string) error {
		if !strings.HasPrefix(key, rule+":") {
			return nil
		}
		return f.bare.Do(ctx, anys(append([]string{k.stale[0], name(key)}, k.stale[1:]...))...).Err()
	})
}

// divergences are replays whose two replies differed, in all instances.
func (f *fleet) divergences() (n uint64) {
	for _, in := range f.instances {
		for _, s := range in.r.Stats().Rules {
			n += s.Divergences
		}
	}
	return n
}
