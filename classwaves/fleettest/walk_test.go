//go:build postgres

package fleettest

import (
	"slices"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
)

// The ways up and down. Each flag that there is comes by: drain is CW_CACHE_PREFIX_ENABLED=1 alone, as the
// seed's rollout has it, settled and sealed are those with CW_CACHE_LEGACY_READ=0.
var (
	up = []stage{
		{phase.Legacy, phase.Legacy}, // 00
		{phase.Guard, phase.Hold},    // 01
		{phase.Dual, phase.Move},     // 11
		{phase.Drain, phase.Move},    // 10
		{phase.Prefixed, phase.Prefixed},
	}
	down = []stage{
		{phase.Prefixed, phase.Prefixed},
		{phase.Sealed, phase.Move},
		{phase.Settled, phase.Move},
		{phase.Dual, phase.Move},
		{phase.Guard, phase.Hold},
		{phase.Legacy, phase.Legacy},
	}
)

// byFlagsTime is how long TestWalk takes by default, about: it goes up and down twice.
const byFlagsTime = 40 * time.Second

// TestWalk takes a fleet under load to the new names and back, by the flags alone. Two of the four
// servers are started with the old flags, two with those of the step beyond. Nobody notices anything.
// It goes up and down at least twice, each time the other way round, so that all steps come by.
func TestWalk(t *testing.T) {
	total := walkTime(t, byFlagsTime)
	f := newFleet(t)
	f.settings[phase.CacheGated] = "1"
	addTeachers(t, f.database, 4)
	f.prove(up[0], up[1])
	f.serve(up[0], up[0], up[1], up[1])
	began := time.Now()
	g, end := f.play(load.Config{Students: 4, Pause: 120 * time.Millisecond, Probes: probe(total)})

	rounds := max(2, int(total/byFlagsTime))
	there, back := up, down
	w := &walker{fleet: f, load: g, at: up[0], began: began, total: total, slots: rounds * size * (len(up) + len(down) - 2)}
	for range rounds {
		w.walk(there[1:])
		if legacy, target := f.names(); legacy != 0 || target == 0 {
			t.Errorf("in prefixed there are %d legacy keys and %d target keys, want none and some", legacy, target)
		}
		w.walk(back[1:])
		there, back = reversed(back), reversed(there)
	}
	f.sweep("purge", phase.Mirror, phase.Legacy)
	f.sweep("purge", phase.Relocate, phase.Legacy)
	if legacy, target := f.names(); legacy == 0 || target != 0 {
		t.Errorf("back in legacy there are %d legacy keys and %d target keys, want some and none", legacy, target)
	}
	fallbacks, moved := f.fallbacks(), f.metric("rekey_recopies_total")
	f.untroubled()
	insured := f.insured()
	r := end()
	show(t, &r)
	excuse(t, &r, load.LimitExceeded, insured, "hits were decided without Redis")
	t.Logf("%d steps of a process, %d fallbacks, %.0f recopies, in %v", w.steps, fallbacks, moved, time.Since(began).Round(time.Second))
	if n := r.Violated(); n != 0 {
		t.Errorf("%d violations, want none", n)
	}
	if fallbacks == 0 || r.Spent == 0 || r.Logins < 20 || r.Joins < 50 {
		t.Errorf("%d fallbacks, %d limits spent, %d logins, %d joins: that is no load", fallbacks, r.Spent, r.Logins, r.Joins)
	}
}

func reversed(way []stage) []stage {
	out := slices.Clone(way)
	slices.Reverse(out)
	return out
}

// walker takes a fleet along its ways.
type walker struct {
	*fleet
	load         *load.Generator
	at           stage
	began        time.Time
	total        time.Duration
	steps, slots int
}

// walk goes through stages: proves what must hold before each, and then takes one server after the
// other there, with load in between.
func (w *walker) walk(stages []stage) {
	w.t.Helper()
	for _, to := range stages {
		if w.at.cache == phase.Guard && to.cache == phase.Dual {
			w.processes[0].held(w.t, w.fleet, w.at, to)
		}
		w.prove(w.at, to)
		for _, p := range w.processes {
			p.enter(w.t, w.fleet, to)
			w.steps++
			w.stay(w.load, w.began.Add(w.total*time.Duration(w.steps)/time.Duration(w.slots)))
		}
		w.at = to
	}
}
