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

const historiesFile = "testdata/histories.txt"

// flaw is one thing left out.
type flaw struct {
	title string
	find  func(t *testing.T) result
}

func TestModelFindsEveryFlaw(t *testing.T) {
	var file bytes.Buffer
	for _, f := range slices.Concat(naiveFlaws(), gateFlaws(), besideFlaws(t), treatmentFlaws(), otherFlaws()) {
		t.Run(f.title, func(t *testing.T) {
			r := f.find(t)
			if r.history == nil {
				t.Fatalf("nothing found in %d states, want a violation", r.states)
			}
			t.Logf("%d steps, %d states seen", r.steps, r.states)
			fmt.Fprintf(&file, "== %s: %d steps\n%s\n\n", f.title, r.steps, strings.Join(r.history, "\n"))
		})
	}
	if t.Failed() {
		return
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
	return func(*testing.T) result { return m.search() }
}

// naiveFlaws are those of the plain flag flip, by what the application does.
func naiveFlaws() []flaw {
	var out []flaw
	for _, c := range []struct {
		title string
		calls []string
	}{
		{"naive flag flip, a register", []string{"GET k", "SET k w"}},
		{"naive flag flip, a set", []string{"SMEMBERS k", "SADD k m"}},
		{"naive flag flip, a session that is deleted", []string{"GET k", "DEL k"}},
		{"naive flag flip, a counter", []string{"INCR k"}},
	} {
		out = append(out, flaw{c.title, searchOf(naiveModel(c.calls...))})
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
// phases know well: contents that a whole fleet in either of them can have.
func sideBySide(strategy phase.Strategy, a, b phase.Phase, seen map[phase.Phase]map[content]bool) *model {
	m := newModel(strategy, Server{})
	m.still, m.start = true, nil
	for _, c := range sortedContents(seen[a]) {
		if !seen[b][c] {
			continue
		}
		for _, moved := range [][instances]bool{{false, true, true}, {true, false, false}} {
			m.start = append(m.start, state{fleet: fleet{a, b, moved}, content: c})
		}
	}
	return m
}

func sortedContents(set map[content]bool) []content {
	var out []content
	for c := range set {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b content) int { return strings.Compare(a.String(), b.String()) })
	return out
}
