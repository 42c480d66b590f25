//go:build postgres

package fleettest

import (
	"fmt"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
)

// flipTime is how long each state of a plain flip lasts.
const flipTime = 3 * time.Second

// TestPlainFlip takes the same fleet, under the same load, through the seed's rollout: flags are flipped
// one server after the other, with no step in between, no sweep and no gate. The load must notice.
func TestPlainFlip(t *testing.T) {
	for _, tt := range []struct {
		name string
		way  []stage
		want []load.Kind // each is found while half of the servers are flipped
	}{
		{
			"00, 11, 10",
			[]stage{{phase.Legacy, phase.Legacy}, {phase.Dual, phase.Move}, {phase.Drain, phase.Move}},
			[]load.Kind{load.RevivedSession, load.Stale, load.LimitExceeded, load.WentBack, load.Miscounted, load.Unheard},
		},
		{
			"straight to the new names",
			[]stage{{phase.Legacy, phase.Legacy}, {phase.Prefixed, phase.Prefixed}},
			[]load.Kind{load.LostSession, load.LimitExceeded, load.WentBack, load.Miscounted},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t)
			addTeachers(t, f.database, 4)
			first := tt.way[0]
			f.serve(first, first, first, first)
			g, end := f.play(load.Config{Students: 4, Pause: 80 * time.Millisecond, Probes: probe(flipTime * 8), Patience: 2 * time.Second})
			f.stay(g, time.Now().Add(flipTime))
			if r := g.Report(); r.Violated() != 0 {
				show(t, &r)
				t.Fatal("violations before anything was flipped")
			}
			for n, to := range tt.way[1:] {
				for i, p := range f.processes {
					p.enter(t, f, to)
					f.stay(g, time.Now().Add(flipTime))
					if n == 0 && i == size/2-1 {
						f.untilViolated(g, tt.want)
					}
				}
			}
			r := end()
			show(t, &r)
		})
	}
}

// untilViolated lets the load go on until it has found some of each kind.
func (f *fleet) untilViolated(g *load.Generator, kinds []load.Kind) {
	f.t.Helper()
	err := poll(2*time.Minute, "the load finds what the plain flip breaks", func() (bool, error) {
		r := g.Report()
		for _, kind := range kinds {
			if r.Violations[kind] == 0 {
				return false, fmt.Errorf("no %s", kind)
			}
		}
		return true, nil
	})
	if err != nil {
		r := g.Report()
		show(f.t, &r)
		f.t.Fatal(err)
	}
}
