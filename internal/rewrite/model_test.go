package rewrite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/phase"
)

// newModel is the protocol of a strategy on a kind of server.
func newModel(strategy phase.Strategy, server Server) *model {
	set := modelSet()
	m := &model{
		world: world{
			set: set, server: server, script: newInterpreter(), full: true,
			engine: &builderEngine{set: set, server: server},
		},
		steps: phase.Steps(strategy), evicts: server.Evicts, calls: singleCalls,
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

func TestModel(t *testing.T) {
	for _, strategy := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, server := range modelServers {
			t.Run(fmt.Sprint(strategy, ", ", server.name), func(t *testing.T) {
				m := newModel(strategy, server.Server)
				began := time.Now()
				r := m.search()
				t.Logf("%d states, %d transitions, %d runs of commands, %v", r.states, r.transitions, r.runs, time.Since(began))
				if r.history != nil {
					t.Errorf("violated:\n%s", strings.Join(r.history, "\n"))
				}
			})
		}
	}
}
