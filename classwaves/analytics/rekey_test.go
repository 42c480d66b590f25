package analytics

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// rules are those of the plan that analytics keeps something under.
var rules = []string{"session_analytics", "group_analytics", "dashboards"}

func allAt(p phase.Phase) map[string]phase.Phase { return phasefleet.At(p, rules...) }

// bounded makes a client whose commands end with their context.
func bounded(o *redis.Options) { o.ContextTimeoutEnabled = true }

// behaves walks through what the package does.
func behaves(t *testing.T, rdb *redis.Client, db *memory) {
	t.Helper()
	a := start(t, rdb, db)
	m := apply(t, a, "s0", joined("s0-a"), joined("s0-b"), Event{Kind: GroupReady, GroupID: "s0-a"})
	if m.Participants != 2 || m.ReadyGroups != 1 {
		t.Errorf("apply: got %+v", m)
	}
	other := start(t, rdb, db)
	if got := sessionOf(t, other, "s0"); got != m {
		t.Errorf("session of another process: got %+v, want %+v", got, m)
	}
	if g := groupOf(t, other, "s0-a"); !g.Ready || g.Participants != 1 {
		t.Errorf("group of another process: got %+v", g)
	}
	if d := dashboardOf(t, other, "t0"); d.Participants != 2 || d.LiveSessions != 2 {
		t.Errorf("dashboard: got %+v", d)
	}
	apply(t, a, "s1", joined("s1-a"))
	if d := dashboardOf(t, other, "t0"); d.Participants != 3 {
		t.Errorf("dashboard after an update: got %+v", d)
	}
	if d := dashboardOf(t, other, "t0"); d.Participants != 3 || other.Metrics().Misses != 2 {
		t.Errorf("dashboard from the cache: got %+v, %+v", d, other.Metrics())
	}
	report, err := other.Sync(t.Context())
	if err != nil || report.Live != 2 || report.Written != 2 || len(report.Missed) != 0 {
		t.Errorf("sync: got %+v, %v", report, err)
	}
	if err := a.Ended(t.Context(), "s0"); err != nil {
		t.Error(err)
	}
	if got := sessionOf(t, other, "s0"); !got.Ended || got.Participants != 2 {
		t.Errorf("ended session: got %+v", got)
	}
	for _, a := range []*Analytics{a, other} {
		if m := a.Metrics(); m.CacheOutages+m.DatabaseReads+m.DatabaseUpdates+m.Foreign+m.Refused != 0 {
			t.Errorf("failed soft: %+v", m)
		}
	}
}

func TestEveryPhase(t *testing.T) {
	s := redistest.Shared(t)
	t.Run("bare", func(t *testing.T) { behaves(t, client(s), newMemory(2)) })
	for _, p := range phase.Of(phase.Mirror) {
		t.Run(p.String(), func(t *testing.T) {
			s := redistest.Shared(t)
			_, rdb := phasefleet.Open(t, s, rekey.WithPhases(allAt(p)), bounded)
			behaves(t, rdb, newMemory(2))
		})
	}
}

// Processes in two neighbouring phases count together.
func TestFiftyWritersInNeighbouringPhases(t *testing.T) {
	phases := phase.Of(phase.Mirror)
	for i, p := range phases {
		for _, q := range phases[i+1:] {
			if !phase.Beside(phase.Mirror, p, q) {
				continue
			}
			t.Run(fmt.Sprintf("%s and %s", p, q), func(t *testing.T) {
				s, db := redistest.Shared(t), newMemory(1)
				var processes []*Analytics
				for _, p := range []phase.Phase{p, q, p, q} {
					_, rdb := phasefleet.Open(t, s, rekey.WithPhases(allAt(p)), bounded)
					processes = append(processes, start(t, rdb, db))
				}
				hammer(t, processes)
				for _, a := range processes {
					wantAll(t, a)
					if m := a.Metrics(); m.CacheOutages+m.DatabaseUpdates+m.Refused != 0 {
						t.Errorf("failed soft: %+v", m)
					}
				}
			})
		}
	}
}

// A fleet is walked to the new names and back while everybody counts and reads.
func TestFiftyWritersThroughPhaseChanges(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	walk := phase.Walk(phase.Mirror)
	var fleet []*rekey.Rekey
	var sources []*rekey.Manual
	var processes []*Analytics
	for range 4 {
		source := rekey.NewManual(allAt(walk[0]))
		r, rdb := phasefleet.Open(t, s, rekey.WithSource(source), bounded)
		fleet, sources, processes = append(fleet, r), append(sources, source), append(processes, start(t, rdb, db))
	}
	stop := make(chan struct{})
	counted := make([]int64, writers)
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			a := processes[w%len(processes)]
			for {
				select {
				case <-stop:
					return
				default:
				}
				m, err := a.Apply(context.Background(), "s0", joined(fmt.Sprintf("s0-%d", w%5)))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				counted[w]++
				if m.Participants < counted[w] {
					t.Errorf("writer %d: got %d participants, has counted %d itself", w, m.Participants, counted[w])
				}
			}
		})
	}
	// One process after the other, so that two phases stand side by side all the time; each waits until
	// the one before is through, as a fleet's controller does.
	goTo := func(p phase.Phase) {
		for i, source := range sources {
			source.Set(allAt(p))
			redistest.WaitFor(t, waitAtMost, func() bool { return fleet[i].Phases()[rules[0]] == p })
			ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
			if err := fleet[i].WaitReached(ctx); err != nil {
				t.Errorf("process %d in %s: %v", i, p, err)
			}
			cancel()
			before := processes[i].Metrics().Updates
			redistest.WaitFor(t, waitAtMost, func() bool { return t.Failed() || processes[i].Metrics().Updates > before+20 })
		}
		// What a sweep between the steps would do for three keys, reads do: each brings the other copy.
		if p == phase.Dual {
			sessionOf(t, processes[0], "s0")
			for g := range 5 {
				groupOf(t, processes[0], fmt.Sprintf("s0-%d", g))
			}
			dashboardOf(t, processes[0], "t0")
		}
	}
	for _, p := range walk[1:] {
		goTo(p)
	}
	for i := len(walk) - 2; i >= 0; i-- {
		goTo(walk[i])
	}
	close(stop)
	work.Wait()
	var want int64
	for _, n := range counted {
		want += n
	}
	for i, a := range processes {
		if got := sessionOf(t, a, "s0").Participants; got != want {
			t.Errorf("process %d: got %d participants, want %d", i, got, want)
		}
		if m := a.Metrics(); m.CacheOutages+m.DatabaseUpdates+m.Refused != 0 {
			t.Errorf("failed soft: %+v", m)
		}
	}
	t.Logf("%d events through %d phases", want, 2*len(walk)-1)
}

// What rekey found under the legacy name alone is readable here.
func TestLegacyFallbacks(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	apply(t, start(t, client(s), db), "s0", joined("s0-a")) // a process of before the migration
	r, rdb := phasefleet.Open(t, s, rekey.WithPhases(allAt(phase.Dual)), bounded)
	a := start(t, rdb, db, func(c *Config) {
		c.LegacyFallbacks = func() (n uint64) {
			for _, rule := range rules {
				n += r.Stats().Rules[rule].Fallbacks
			}
			return n
		}
	})
	for range 2 {
		if got := sessionOf(t, a, "s0").Participants; got != 1 {
			t.Errorf("got %d participants, want 1", got)
		}
	}
	if got := a.Metrics().LegacyFallbacks; got != 1 {
		t.Errorf("got %d fallbacks, want 1", got)
	}
}
