package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// This file leaves things out of the rewriting itself: each operation of each row of the
// table, one at a time, and what the table does not hold.

var opNames = map[op]string{
	copyToTarget: "COPY L P", copyToLegacy: "COPY P L", overLegacy: "COPY P L REPLACE", dropTarget: "UNLINK P",
	dropLegacy: "UNLINK L", bringToTarget: "RENAMENX L P", bringToLegacy: "RENAMENX P L",
}

// spare are the operations that the search does not miss, and why they are there.
var spare = map[string]string{
	"settled without COPY P L in after": "the gate of the step from dual back to guard makes L again; with it a way back finds L nearly complete",
}

// omission is one operation of the table.
type omission struct {
	phase phase.Phase
	list  string
	at    int
}

// lists are a row's operations by when they run.
func (r *treatment) lists() map[string]*[]op {
	return map[string]*[]op{"read": &r.read, "write": &r.write, "replay": &r.replay, "after": &r.after}
}

func omissions() []omission {
	var out []omission
	for p := range treatments {
		row := treatments[p]
		for _, list := range []string{"read", "write", "replay", "after"} {
			for at := range *row.lists()[list] {
				out = append(out, omission{phase.Phase(p), list, at})
			}
		}
	}
	return out
}

func (o omission) String() string {
	row := treatments[o.phase]
	return fmt.Sprintf("%s without %s in %s", o.phase, opNames[(*row.lists()[o.list])[o.at]], o.list)
}

// without changes the table for as long as a test runs.
func without(t *testing.T, change func(rows *[phase.Count]treatment)) {
	kept := treatments
	t.Cleanup(func() { treatments = kept })
	change(&treatments)
}

// everywhere searches the strategies that have a phase, on every kind of server, until
// something is found.
func everywhere(p phase.Phase, alter func(*model)) result {
	var r result
	for _, server := range modelServers {
		for _, strategy := range strategies {
			if !strategy.Has(p) {
				continue
			}
			m := newModel(strategy, server.Server)
			alter(m)
			if r = m.simplest(); r.history != nil {
				return r
			}
		}
	}
	return r
}

func unaltered(*model) {}

func (o omission) find(t *testing.T) result {
	without(t, func(rows *[phase.Count]treatment) {
		list := rows[o.phase].lists()[o.list]
		*list = slices.Delete(slices.Clone(*list), o.at, o.at+1)
	})
	return everywhere(o.phase, unaltered)
}

// treatmentFlaws are the operations left out that the search misses.
func treatmentFlaws() []flaw {
	var out []flaw
	for _, o := range omissions() {
		if spare[o.String()] == "" {
			out = append(out, flaw{o.String(), o.find})
		}
	}
	return out
}

// TestModelSparesOperations holds that what is called spare is.
func TestModelSparesOperations(t *testing.T) {
	left := len(spare)
	for _, o := range omissions() {
		if why := spare[o.String()]; why != "" {
			left--
			t.Run(o.String(), func(t *testing.T) {
				if r := o.find(t); r.history != nil {
					t.Errorf("it is needed after all, though %s: %v", why, r.history)
				}
			})
		}
	}
	if left != 0 {
		t.Errorf("%d spare operations are not in the table", left)
	}
}

// otherFlaws are what the table says in other words, and what is said elsewhere.
func otherFlaws() []flaw {
	row := func(title string, p phase.Phase, change func(*treatment)) flaw {
		return flaw{title, func(t *testing.T) result {
			without(t, func(rows *[phase.Count]treatment) { change(&rows[p]) })
			return everywhere(p, unaltered)
		}}
	}
	// Removals are not in the table: count.go has them.
	count := func(title string, p phase.Phase) flaw {
		return flaw{title, func(*testing.T) result {
			return everywhere(p, func(m *model) {
				m.engine = &countingEngine{builderEngine{set: m.set, server: m.server}, p}
			})
		}}
	}
	return []flaw{
		row("dual without EXISTS L behind a cached read", phase.Dual, func(r *treatment) { r.track = false }),
		row("settled writes P alone", phase.Settled, func(r *treatment) { r.both, r.replay, r.after = false, nil, nil }),
		row("dual writes P alone", phase.Dual, func(r *treatment) { r.both, r.after = false, nil }),
		{"relative TTLs replayed on a server whose clock runs", func(*testing.T) result {
			m := newModel(phase.Mirror, Server{})
			m.engine = &builderEngine{set: m.set, server: Server{Frozen: true}}
			return m.simplest()
		}},
		{"settled replays on a server that evicts", func(*testing.T) result {
			m := newModel(phase.Mirror, Server{Evicts: true})
			m.engine = &builderEngine{set: m.set}
			return m.simplest()
		}},
		{"a script that goes on after a line was refused", func(t *testing.T) result {
			kept := scriptRun
			t.Cleanup(func() { scriptRun = kept })
			stop := []byte("if type(r)=='table' and r.err and (l==answer or r.err~='ERR no such key') then return r end\n")
			if scriptRun = bytes.Replace(kept, stop, nil, 1); len(scriptRun) == len(kept) {
				t.Fatal("the script has no such line")
			}
			return newModel(phase.Mirror, Server{}).simplest()
		}},
		{"a WATCH that outlives the walk", func(*testing.T) result {
			return everywhere(phase.Guard, func(m *model) { m.patient = true })
		}},
		count("guard without UNLINK P behind DEL", phase.Guard),
		count("sealed without UNLINK L behind DEL", phase.Sealed),
	}
}

// countingEngine removes one name alone in a phase.
type countingEngine struct {
	builderEngine
	phase phase.Phase
}

func (e *countingEngine) run(s *store, c *call, phases modelPhases, scripted bool) (any, []string, error) {
	e.skip = func(c *call, l Line) bool {
		return phases[0] == e.phase && c.use.Class == command.ClassCount && l.Role == Removed
	}
	return e.builderEngine.run(s, c, phases, scripted)
}
