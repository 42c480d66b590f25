package rewrite

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/classwaves/rekey/phase"
)

// The search is only worth what it finds. Here it must find what goes wrong when
// something is left out: a gate, an UNLINK, the order of the phases, all of the protocol.
// The shortest histories are kept in testdata/histories.txt, from which docs/protocol.md
// cites.

var update = flag.Bool("update", false, "write testdata/histories.txt anew")

const (
	historiesFile   = "testdata/histories.txt"
	historiesLegend = `What goes wrong when something is left out of the protocol: the shortest history of each,
found by the search in model_test.go. Written by go test ./internal/rewrite -run TestModelFindsEveryFlaw -update

A, B and C are the instances; k:1 is the legacy name L and cw:k:1 the target name P. On the right is what the
two names hold behind the step, and what a bare key would hold: v is the current value, "old" any other, @1 a
moment of expiry. Values are named anew behind each step.

`
)

// flaw is one thing left out.
type flaw struct {
	title string
	find  func(t *testing.T) result
}

func TestModelFindsEveryFlaw(t *testing.T) {
	file := bytes.NewBufferString(historiesLegend)
	flaws := slices.Concat(naiveFlaws(), gateFlaws(), besideFlaws(t), treatmentFlaws(), otherFlaws())
	ran := 0
	for _, f := range flaws {
		t.Run(f.title, func(t *testing.T) {
			r := f.find(t)
			if r.history == nil {
				t.Fatalf("nothing found in %d states, want a violation", r.states)
			}
			ran++
			t.Logf("%d steps, %d states seen", r.steps, r.states)
			fmt.Fprintf(file, "== %s: %d steps\n%s\n\n", f.title, r.steps, joined(r.history))
		})
	}
	if ran < len(flaws) {
		return // some failed, or -run left them out
	}
	if *update {
		if err := os.WriteFile(historiesFile, file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(historiesFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file.Bytes(), want) {
		t.Errorf("%s is not what the search finds now; if that is right, run go test -run %s -update", historiesFile, t.Name())
	}
}

func searchOf(m *model) func(*testing.T) result {
	return func(*testing.T) result { return m.simplest() }
}

// simplest looks for a history with as few unusual circumstances as possible, and for one
// in which the application sees what is wrong.
func (m *model) simplest() result {
	var r result
	for _, try := range []struct{ full, stranger, seen bool }{{false, false, true}, {true, false, true}, {true, true, true}, {true, true, false}} {
		n := *m
		n.full, n.stranger, n.seen = try.full && m.full, try.stranger && m.stranger, try.seen
		if r = n.search(); r.history != nil {
			break
		}
	}
	return r
}

// naiveFlaws are those of the plain flag flip, by what the application does.
func naiveFlaws() []flaw {
	var out []flaw
	for _, c := range []struct {
		title string
		phase phase.Phase
		key   symbol
		calls []string
	}{
		{"naive flag flip, a register", phase.Legacy, symbol{}, []string{"GET k", "SET k w"}},
		{"naive flag flip, a set that has members", phase.Legacy, symbol{current, 0}, []string{"SMEMBERS k", "SADD k m"}},
		{"naive flag flip, a session that is deleted", phase.Dual, symbol{}, []string{"GET k", "SET k w", "DEL k"}},
		{"naive flag flip, a counter", phase.Legacy, symbol{current, 0}, []string{"INCR k"}},
	} {
		out = append(out, flaw{c.title, searchOf(naiveModel(c.phase, c.key, c.calls...))})
	}
	return out
}

// gateFlaws are each gate of each step left out.
func gateFlaws() []flaw {
	var out []flaw
	for _, strategy := range strategies {
		for i, step := range phase.Steps(strategy) {
			for j, gate := range step.Gates {
				m := newModel(strategy, Server{})
				m.steps[i].Gates = slices.Delete(m.steps[i].Gates, j, j+1)
				out = append(out, flaw{fmt.Sprintf("%s, %s to %s without the gate %s", strategy, step.From, step.To, gate), searchOf(m)})
			}
		}
	}
	return out
}

// besideFlaws are each two phases that may not stand beside each other.
func besideFlaws(t *testing.T) []flaw {
	var out []flaw
	for _, strategy := range strategies {
		seen := newModel(strategy, Server{}).search().whole
		all := phase.Of(strategy)
		for i, a := range all {
			for _, b := range all[i+1:] {
				if !phase.Beside(strategy, a, b) {
					out = append(out, flaw{fmt.Sprintf("%s, %s beside %s", strategy, a, b), searchOf(sideBySide(strategy, a, b, seen))})
				}
			}
		}
	}
	return out
}

// sideBySide is a fleet that stands still in two phases. The key begins with what both
// phases know well: contents that a whole fleet in either of them can have. Settled beside
// drain wants more to go wrong: a key that drain has not copied yet, see
// TestModelSettledBesideDrain.
func sideBySide(strategy phase.Strategy, a, b phase.Phase, seen map[phase.Phase]map[content]bool) *model {
	m := newModel(strategy, Server{})
	m.still, m.start = true, nil
	for _, c := range sortedContents(seen[b]) {
		if !seen[a][c] && (a != phase.Settled || b != phase.Drain) {
			continue
		}
		for _, moved := range [][instances]bool{{false, true, true}, {true, false, false}} {
			m.start = append(m.start, state{fleet: fleet{a, b, moved}, content: c})
		}
	}
	return m
}

// TestModelSettledBesideDrain shows that of the pairs that may not stand beside each other
// this one wants no more than the gate that settled has anyway.
func TestModelSettledBesideDrain(t *testing.T) {
	for _, server := range modelServers {
		m := newModel(phase.Mirror, server.Server)
		m.steps = append(m.steps,
			phase.Step{Strategy: phase.Mirror, From: phase.Settled, To: phase.Drain},
			phase.Step{Strategy: phase.Mirror, From: phase.Drain, To: phase.Settled, Gates: []phase.Gate{phase.Copied}})
		hold(t, m)
	}
}

func sortedContents(set map[content]bool) []content {
	var out []content
	for c := range set {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b content) int { return strings.Compare(a.String(), b.String()) })
	return out
}
