//go:build postgres

package fleettest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"syscall"
	"testing"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// stage is where the two sets of flags are.
type stage struct{ cache, limiter phase.Phase }

func (s stage) of(strategy phase.Strategy) phase.Phase {
	if strategy == phase.Mirror {
		return s.cache
	}
	return s.limiter
}

// ofRule is the phase of a rule.
func (s stage) ofRule(r plan.Rule) phase.Phase { return s.of(r.Strategy) }

// flags are the settings that choose the stage.
func (s stage) flags(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, set := range []struct {
		flags phase.Flags
		phase phase.Phase
	}{{phase.FlagsCache, s.cache}, {phase.FlagsRL, s.limiter}} {
		settings, err := phase.ToFlags(set.flags, set.phase)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settings {
			if !s.Unset {
				out[s.Name] = s.Value
			}
		}
	}
	return out
}

func (s stage) String() string { return fmt.Sprintf("%v and %v", s.cache, s.limiter) }

// serve starts the servers, one at each stage, and the balancer.
func (f *fleet) serve(at ...stage) {
	f.t.Helper()
	var servers []*process
	for _, s := range at {
		p := f.start(s.flags(f.t))
		servers = append(servers, p)
		p.at(f, s)
	}
	f.open(servers...)
}

// prove runs the sweeps of all gates between two stages, with the program, while the load goes on.
func (f *fleet) prove(from, to stage) {
	f.t.Helper()
	for _, strategy := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		a, b := from.of(strategy), to.of(strategy)
		if a == b {
			continue
		}
		step, ok := phase.StepBetween(strategy, a, b)
		if !ok {
			f.t.Fatalf("there is no step from %v to %v", a, b)
		}
		for _, gate := range append(step.Gates, step.Asked...) {
			switch {
			case gate.Sweep() == "": // counted by the processes
			case gate == phase.NoLegacy && a == phase.Drain:
				// What only the legacy name holds gets its target first; cleanup would name it and leave it.
				f.sweep("backfill", strategy, a)
				f.sweep(gate.Sweep(), strategy, a)
			default:
				f.sweep(gate.Sweep(), strategy, a)
			}
		}
	}
}

// sweep runs one sweep over all rules of a strategy.
func (f *fleet) sweep(kind string, strategy phase.Strategy, at phase.Phase) {
	f.t.Helper()
	args, rules := []string{kind}, 0
	for _, r := range f.plan.Rules {
		if r.Strategy == strategy {
			args = append(args, r.Name)
			rules++
		}
	}
	args = append(args, "--assume-phase", at.String())
	switch kind {
	case "purge", "cleanup":
		args = append(args, "--execute")
	}
	if kind == "cleanup" && at == phase.Sealed {
		args = append(args, "--remove-strays")
	}
	// A gate may want another look where keys changed under the sweep all the time.
	var err error
	for range 3 {
		var out string
		if out, err = f.rekey(args...); err == nil || kind == "verify" && settled([]byte(out), rules) {
			return
		}
	}
	f.t.Fatal(err)
}

// settled says whether verify has looked at so many rules, and all that it found is keys that changed each time that it looked.
func settled(out []byte, rules int) bool {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var result struct {
			Type     string
			Problems map[string]int
		}
		if json.Unmarshal(lines.Bytes(), &result) != nil {
			return false
		}
		delete(result.Problems, "unsettled")
		if len(result.Problems) > 0 {
			return false
		}
		if result.Type == "result" {
			rules--
		}
	}
	return rules == 0 && lines.Err() == nil
}

// fallbacks are the reads that found a value under its legacy name, of all servers and services.
func (f *fleet) fallbacks() (n uint64) {
	f.t.Helper()
	for _, p := range f.processes {
		m, err := p.metrics()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, v := range m.LegacyFallbacks {
			n += v
		}
	}
	return n
}

// turn gives the process the flags of a stage.
func (p *process) turn(t *testing.T, f *fleet, to stage) {
	t.Helper()
	p.settings = maps.Clone(f.settings)
	maps.Copy(p.settings, to.flags(t))
	p.write(t)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// at waits until the process is at a stage.
func (p *process) at(f *fleet, s stage) {
	f.t.Helper()
	if err := p.reached(f.plan, s.ofRule); err != nil {
		f.t.Fatalf("server %d does not go to %v: %v\n%s", p.n, s, err, p.tail())
	}
}

// enter takes the process to a stage by its flags, and waits until it is there.
func (p *process) enter(t *testing.T, f *fleet, at stage) {
	t.Helper()
	p.turn(t, f, at)
	p.at(f, at)
}

// held gives the process flags whose gate is not proven: it says so and stays where it is. It follows
// when the gate is proven.
func (p *process) held(t *testing.T, f *fleet, at, to stage) {
	t.Helper()
	before := f.metric("rekey_held_total")
	p.turn(t, f, to)
	err := poll(stepWithin, "be held by a gate", func() (bool, error) { return f.metric("rekey_held_total") > before, nil })
	if err != nil {
		t.Fatalf("server %d: %v\n%s", p.n, err, p.tail())
	}
	m, err := p.metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.plan.Rules {
		// The limiter's step has no gate.
		if got, want := m.Phases[r.Name], at.cache.String(); r.Strategy == phase.Mirror && got != want {
			t.Errorf("server %d: rule %s is in %s without its gate's proof, want %s", p.n, r.Name, got, want)
		}
	}
}
