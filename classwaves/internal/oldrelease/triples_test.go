package oldrelease_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/oldrelease"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// A triple is who writes a value, who deletes or overwrites it then, and who reads, each in one of the
// three states.
type triple struct{ writer, second, reader oldrelease.State }

func triples() []triple {
	var all []triple
	for _, w := range oldrelease.States {
		for _, s := range oldrelease.States {
			for _, r := range oldrelease.States {
				all = append(all, triple{w, s, r})
			}
		}
	}
	return all
}

func (c triple) String() string {
	return fmt.Sprintf("%v writes, %v, %v reads", c.writer, c.second, c.reader)
}

// inPhase is what rekey does in place of a state: the flags are the same.
var inPhase = map[oldrelease.State]phase.Phase{
	oldrelease.Old: phase.Legacy, oldrelease.DualWrite: phase.Dual, oldrelease.PrefixedOnly: phase.Drain,
}

// What can go wrong.
const (
	right   = "right"
	revived = "REVIVED" // a deleted value is read
	stale   = "STALE"   // a newer value is not seen: the one before it is, or none
)

// given is what the old release gives after a deletion and after an overwrite.
type given struct{ deleted, overwritten string }

// naive is what the old release gives: 10 of 27 revived, 7 of 27 stale.
func naive() map[triple]given {
	const o, d, p = oldrelease.Old, oldrelease.DualWrite, oldrelease.PrefixedOnly
	return map[triple]given{
		{o, o, o}: {right, right},
		{o, o, d}: {right, right},
		{o, o, p}: {right, right},
		{o, d, o}: {right, right},
		{o, d, d}: {right, right},
		{o, d, p}: {right, right},
		{o, p, o}: {revived, stale}, // the second never looks at the legacy name,
		{o, p, d}: {revived, right}, // and readers fall back to it
		{o, p, p}: {revived, right},
		{d, o, o}: {right, right},
		{d, o, d}: {revived, stale}, // the second does not know of the prefixed copy
		{d, o, p}: {revived, stale},
		{d, d, o}: {right, right},
		{d, d, d}: {right, right},
		{d, d, p}: {right, right},
		{d, p, o}: {revived, stale}, // the second leaves the legacy copy
		{d, p, d}: {revived, right},
		{d, p, p}: {revived, right},
		{p, o, o}: {right, right},
		{p, o, d}: {revived, stale}, // the second cannot see what the writer wrote
		{p, o, p}: {revived, stale},
		{p, d, o}: {right, right},
		{p, d, d}: {right, right},
		{p, d, p}: {right, right},
		{p, p, o}: {right, stale}, // the reader cannot
		{p, p, d}: {right, right},
		{p, p, p}: {right, right},
	}
}

// act is what the second actor does to a key, and what a reader must see then.
type act struct {
	name string
	do   func(ctx context.Context, p *oldrelease.Process, key string) error
	want string // "" absent
	bad  string // what anything else is
}

var acts = []act{
	{"deletes", func(ctx context.Context, p *oldrelease.Process, key string) error { return p.Delete(ctx, key) }, "", revived},
	{"overwrites", func(ctx context.Context, p *oldrelease.Process, key string) error {
		return p.Set(ctx, key, "newer", time.Hour)
	}, "newer", stale},
}

// judge reads as one process does.
func (a act) judge(t *testing.T, p *oldrelease.Process, key string) string {
	t.Helper()
	got, found, err := p.Get(t.Context(), key)
	must(t, err)
	if found != (a.want != "") || got != a.want {
		return a.bad
	}
	return right
}

func sessionKey(t *testing.T, id string) string {
	t.Helper()
	name, err := keys.SecureSession(id)
	must(t, err)
	return name
}

// tokenKey is of a rule that does not walk, so that no sweep sees what the old release does.
func tokenKey(t *testing.T, id string) string {
	t.Helper()
	name, err := keys.CSRF(id)
	must(t, err)
	return name
}

// TestTriples is the table of the 27 triples: what the old release gives when processes in these states
// stand side by side, and what rekey gives when a fleet goes from phase to phase by its gates. rekey's
// processes are the old release with its flags off: they know one name. Every process of the fleet reads
// at every moment after the second act, also while the fleet is mixed, and must see the same.
func TestTriples(t *testing.T) {
	server := redistest.Shared(t)
	fleet := phasefleet.Start(t, server, environment, 3, "secure_sessions")
	count, expected := map[string]int{}, naive()
	t.Logf("%-62s %-9s %-9s %-9s %-9s", "", "deleted:", "", "newer:", "")
	t.Logf("%-62s %-9s %-9s %-9s %-9s", "", "naive", "rekey", "naive", "rekey")
	for i, c := range triples() {
		var cells []any
		for _, a := range acts {
			key := sessionKey(t, fmt.Sprintf("%d-%s", i, a.name))
			got := naiveTriple(t, server.Client(), c, a, tokenKey(t, fmt.Sprintf("%d-%s", i, a.name)))
			want := expected[c].deleted
			if a.bad == stale {
				want = expected[c].overwritten
			}
			if got != want {
				t.Errorf("%v, second %s: the old release gives %s, want %s", c, a.name, got, want)
			}
			rekeyed := rekeyTriple(t, fleet, c, a, key)
			if rekeyed != right {
				t.Errorf("%v, second %s: rekey gives %s", c, a.name, rekeyed)
			}
			count["naive "+got]++
			count["rekey "+rekeyed]++
			cells = append(cells, got, rekeyed)
		}
		t.Logf("%-62v %-9s %-9s %-9s %-9s", append([]any{c}, cells...)...)
	}
	t.Logf("of 27: naive revives %d, rekey %d; naive is stale in %d, rekey in %d",
		count["naive "+revived], count["rekey "+revived], count["naive "+stale], count["rekey "+stale])
	if count["naive "+revived] != 10 || count["naive "+stale] != 7 {
		t.Errorf("the old release revives %d and is stale in %d, want 10 and 7", count["naive "+revived], count["naive "+stale])
	}
	if count["rekey "+right] != 54 {
		t.Errorf("rekey is right in %d of 54", count["rekey "+right])
	}
}

// naiveTriple plays a triple with three processes that know their flags, on bare names.
func naiveTriple(t *testing.T, bare *redis.Client, c triple, a act, key string) string {
	t.Helper()
	ctx := t.Context()
	must(t, oldrelease.New(bare, environment, c.writer).Set(ctx, key, "older", time.Hour))
	must(t, a.do(ctx, oldrelease.New(bare, environment, c.second), key))
	return a.judge(t, oldrelease.New(bare, environment, c.reader), key)
}

// rekeyTriple plays it with a fleet that walks from each actor's phase to the next one's.
func rekeyTriple(t *testing.T, fleet *phasefleet.Fleet, c triple, a act, key string) string {
	t.Helper()
	ctx := t.Context()
	var processes []*oldrelease.Process
	for _, m := range fleet.Members {
		processes = append(processes, oldrelease.New(m.Client, environment, oldrelease.Old))
	}
	verdict := right
	look := func() {
		for _, p := range processes {
			if got := a.judge(t, p, key); got != right {
				verdict = got
			}
		}
	}
	fleet.Between = nil
	fleet.Walk(phase.Mirror, inPhase[c.writer])
	must(t, processes[0].Set(ctx, key, "older", time.Hour))
	fleet.Walk(phase.Mirror, inPhase[c.second])
	must(t, a.do(ctx, processes[1], key))
	look()
	fleet.Between = look
	fleet.Walk(phase.Mirror, inPhase[c.reader])
	look()
	return verdict
}

// TestTriplesSideBySide is the part of the table whose phases may stand side by side at one moment: no
// walk lies between the acts, each process is in its own phase.
func TestTriplesSideBySide(t *testing.T) {
	played := 0
	for i, c := range triples() {
		at := [3]phase.Phase{inPhase[c.writer], inPhase[c.second], inPhase[c.reader]}
		if !beside(at) {
			continue
		}
		played++
		for _, a := range acts {
			server := redistest.Shared(t)
			fleet := phasefleet.Start(t, server, environment, 3, "secure_sessions")
			if at[0] != phase.Legacy {
				fleet.Walk(phase.Mirror, phase.Dual)
			}
			var processes []*oldrelease.Process
			for i, m := range fleet.Members {
				fleet.Move(i, phase.Mirror, at[i])
				processes = append(processes, oldrelease.New(m.Client, environment, oldrelease.Old))
			}
			key := sessionKey(t, fmt.Sprintf("%d-%s", i, a.name))
			must(t, processes[0].Set(t.Context(), key, "older", time.Hour))
			must(t, a.do(t.Context(), processes[1], key))
			if got := a.judge(t, processes[2], key); got != right {
				t.Errorf("%v, second %s: %s", c, a.name, got)
			}
		}
	}
	if played != 9 { // all old, or dual and prefixed-only in any order
		t.Errorf("%d triples played, want 9", played)
	}
}

func beside(at [3]phase.Phase) bool {
	for _, a := range at {
		for _, b := range at {
			if a != b && !phase.Beside(phase.Mirror, a, b) {
				return false
			}
		}
	}
	return true
}

// TestTriplesWithoutGates: the same walks without the sweeps are wrong. The gates are what makes
// TestTriples right, not the phases alone.
func TestTriplesWithoutGates(t *testing.T) {
	server := redistest.Shared(t)
	wrong := map[string]int{}
	for i, c := range triples() {
		for _, a := range acts {
			fleet := phasefleet.Start(t, server, environment, 3, "secure_sessions")
			fleet.Ungated = true
			wrong[rekeyTriple(t, fleet, c, a, sessionKey(t, fmt.Sprintf("%d-%s", i, a.name)))]++
		}
	}
	t.Logf("of 54 without gates: %d revived, %d stale", wrong[revived], wrong[stale])
	if wrong[revived] == 0 || wrong[stale] == 0 {
		t.Errorf("without gates %d are revived and %d stale, want some of each", wrong[revived], wrong[stale])
	}
}
