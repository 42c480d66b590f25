package rewrite

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// The model test searches every state that one logical key can be in while a fleet walks
// from phase to phase and back. What it runs is the code of this package: each command
// goes through the command table and the Builder, its lines and scripts run on a small
// server (model_store_test.go, model_script_test.go), and the reply that the application
// would get must be one that a bare key gives at that moment (model_effect_test.go). All
// that the protocol sends for a command runs at one moment, so that this is all that
// linearizability asks.
//
// A state is the phases of three instances, the gates that are proven, what the two names
// hold compared with the bare key, and what one connection waits for: a WATCH, a
// client-side cache (model_search_test.go). Values are named by whether they are the
// current one, so the states are finite, and the search ends when there is no other.
// Beside commands there are steps, sweeps (model_sweep_test.go), expiry, eviction, full
// memory, a stranger (model_event_test.go).
//
// On a server that evicts, a key of which one copy was dropped may be missing, and may be
// seen again; what is seen is never an old value.

// newModel is the protocol of a strategy on a kind of server.
func newModel(strategy phase.Strategy, server Server) *model {
	set := modelSet()
	m := &model{
		world: world{
			set: set, server: server, script: newInterpreter(), full: true,
			engine: &builderEngine{set: set, server: server},
		},
		steps: phase.Steps(strategy), calls: singleCalls, evicts: server.Evicts, turning: true, stranger: true,
	}
	// Before the walk: a key or none, and beside it what an earlier try left.
	for _, legacy := range []symbol{{}, {current, 0}} {
		for _, target := range []symbol{{}, {stale, 0}, {stale, stale}} {
			m.start = append(m.start, state{
				fleet:   fleet{from: phase.Legacy, to: phase.Legacy},
				content: content{legacy: legacy, target: target, bare: legacy},
			})
		}
	}
	return m
}

// The servers that rewriting tells apart.
var modelServers = []struct {
	name string
	Server
}{
	{"clock runs", Server{}},
	{"clock stands", Server{Frozen: true}},
	{"clock runs, evicts", Server{Evicts: true}},
	{"clock stands, evicts", Server{Frozen: true, Evicts: true}},
}

// TestModel closes the state graph of one key for each strategy and each kind of server.
func TestModel(t *testing.T) {
	for _, server := range modelServers {
		for _, strategy := range strategies {
			t.Run(fmt.Sprint(strategy, ", ", server.name), func(t *testing.T) {
				r := hold(t, newModel(strategy, server.Server))
				for _, a := range phase.Of(strategy) {
					for _, b := range phase.Of(strategy) {
						if got, want := r.fleets[[2]phase.Phase{a, b}], phase.Beside(strategy, a, b); got != want {
							t.Errorf("fleets from %s to %s: got %t, want %t", a, b, got, want)
						}
					}
				}
			})
		}
	}
}

// TestModelSendsEveryClass holds that no class of commands that runs on keys is left out.
func TestModelSendsEveryClass(t *testing.T) {
	for name, calls := range map[string][]call{"one key": singleCalls, "two keys": doubleCalls} {
		got := map[command.Class]bool{}
		relative := false
		for _, c := range calls {
			got[c.use.Class] = true
			relative = relative || c.use.RelativeTTL
		}
		for class := command.ClassRead; class <= command.ClassCount; class++ {
			// An effect is chosen for one key: SPOP and XADD have no other.
			if want := name == "one key" || class != command.ClassEffect; got[class] != want {
				t.Errorf("%s: class %s: got %t, want %t", name, class, got[class], want)
			}
		}
		if want := name == "one key"; relative != want {
			t.Errorf("%s: relative TTL: got %t, want %t", name, relative, want)
		}
	}
}

var strategies = []phase.Strategy{phase.Mirror, phase.Relocate}

// hold searches a model that must hold.
func hold(t *testing.T, m *model) result {
	t.Helper()
	began := time.Now()
	r := m.search()
	t.Logf("%d states, %d transitions, %d commands judged, %v", r.states, r.transitions, r.runs, time.Since(began).Round(time.Millisecond))
	if r.history != nil {
		t.Errorf("violated:\n%s", joined(r.history))
	}
	return r
}

func joined(history []string) string { return strings.Join(history, "\n") }

// TestModelOfTwoKeys adds the commands of two keys. The other key is under no rule, or
// under a rule of its own in any phase of either strategy and with any content that the
// search finds in that phase; so the contents of one round are the other keys of the
// next, until there is nothing more.
func TestModelOfTwoKeys(t *testing.T) {
	for _, server := range []Server{{}, {Evicts: true}} {
		t.Run(fmt.Sprintf("evicts %t", server.Evicts), func(t *testing.T) {
			partners := map[partner]bool{{}: true, {content: content{bare: symbol{current, 0}}}: true}
			for before := 0; before < len(partners); {
				before = len(partners)
				with := sortedPartners(partners)
				t.Logf("%d other keys", before)
				for _, strategy := range strategies {
					m := newModel(strategy, server)
					m.doubles, m.with = doubleCalls, with
					for p, contents := range hold(t, m).seen {
						for c := range contents {
							if c.legacy.ttl+c.target.ttl+c.bare.ttl == 0 {
								partners[partner{p, c}] = true
							}
						}
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

func sortedPartners(set map[partner]bool) []partner {
	return slices.SortedFunc(maps.Keys(set), func(a, b partner) int {
		return cmp.Or(cmp.Compare(a.phase, b.phase), strings.Compare(a.content.String(), b.content.String()))
	})
}
