package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// rules are those of this package's keys.
var rules = []string{"secure_sessions", "teacher_sessions"}

func both(p phase.Phase) map[string]phase.Phase {
	return phasefleet.At(p, rules...)
}

// crowd makes a client for many logins at once.
func crowd(o *redis.Options) { o.PoolSize = 64 }

// mixes are the phases that two processes of a fleet may be in.
var mixes = [][2]phase.Phase{
	{phase.Legacy, phase.Legacy}, {phase.Legacy, phase.Guard}, {phase.Guard, phase.Guard}, {phase.Guard, phase.Dual},
	{phase.Dual, phase.Dual}, {phase.Dual, phase.Settled}, {phase.Settled, phase.Settled}, {phase.Dual, phase.Drain},
	{phase.Drain, phase.Drain}, {phase.Dual, phase.Sealed}, {phase.Settled, phase.Sealed}, {phase.Sealed, phase.Sealed},
	{phase.Drain, phase.Prefixed}, {phase.Sealed, phase.Prefixed}, {phase.Prefixed, phase.Prefixed},
}

// TestPhases: two processes in neighbouring phases behave as one without rekey.
func TestPhases(t *testing.T) {
	for _, mix := range mixes {
		if !phase.Beside(phase.Mirror, mix[0], mix[1]) {
			t.Fatalf("%s and %s may not stand side by side", mix[0], mix[1])
		}
		t.Run(fmt.Sprintf("%s and %s", mix[0], mix[1]), func(t *testing.T) {
			server := redistest.Shared(t)
			backing := session.NewMemory()
			eager := func(c *session.Config) { c.RefreshEvery = 1 }
			_, first := phasefleet.Open(t, server, rekey.WithPhases(both(mix[0])), crowd)
			_, second := phasefleet.Open(t, server, rekey.WithPhases(both(mix[1])), crowd)
			one, two := start(t, first, backing, eager), start(t, second, backing, eager)

			browsers := loginsAtOnce(t, 100, "anna", one, two)
			exactly(t, 3, first, backing, browsers, "anna", one, two)
			exactly(t, 3, second, backing, browsers, "anna", one, two)

			out := loggedIn(t, one, "anna")
			out.want(t, two, "/me", http.StatusOK)
			outCopy := out.copy()
			out.want(t, two, "/logout", http.StatusOK)
			for _, p := range []*process{one, two} {
				outCopy.want(t, p, "/me", http.StatusUnauthorized)
			}
			stolen := loggedIn(t, two, "mallory")
			value := second.Get(t.Context(), sessionKey(t, stolen.cookie)).Val()
			victim := loggedIn(t, one, "victim")
			must(t, first.Set(t.Context(), sessionKey(t, victim.cookie), value, 0).Err())
			victim.want(t, two, "/me", http.StatusUnauthorized)

			newBrowser().want(t, two, "/everywhere/anna", http.StatusOK)
			if n := len(members(t, first, "anna")); n != 0 {
				t.Errorf("%d members after a log-out everywhere", n)
			}
			for _, b := range browsers {
				if inRedis(t, first, b.cookie) || inRedis(t, second, b.cookie) {
					t.Fatal("a session is left after a log-out everywhere")
				}
			}
			if one.sessions.Suspect() || two.sessions.Suspect() {
				t.Error("a command failed")
			}
		})
	}
}

// TestPlainFlip is the rollout by hand, of which rekey keeps us: one process has the old names, the
// other the new ones.
func TestPlainFlip(t *testing.T) {
	server := redistest.Shared(t)
	backing := session.NewMemory()
	_, first := phasefleet.Open(t, server, rekey.WithPhases(both(phase.Legacy)))
	_, second := phasefleet.Open(t, server, rekey.WithPhases(both(phase.Prefixed)))
	one, two := start(t, first, backing), start(t, second, backing)
	browsers := loginsAtOnce(t, 40, "anna", one, two)
	lost := 0
	for _, b := range browsers {
		firstStatus, _ := b.get(one, "/me")
		if secondStatus, _ := b.get(two, "/me"); firstStatus != secondStatus {
			lost++
		}
	}
	if lost == 0 {
		t.Error("both processes see the same: the tests of phases show nothing")
	}
	t.Logf("%d sessions that one process has and the other has not", lost)
}

// TestHalfOfADualRead: the connection breaks between the answers of the two names, or within one. What came is
// not taken for an answer, least of all for the session's absence: the database answers.
func TestHalfOfADualRead(t *testing.T) {
	server := redistest.Shared(t)
	link, raw, backing := redistest.SlowLink(t, server.Addr()), server.Client(), sqlite(t)
	_, dual := phasefleet.Open(t, server, rekey.WithPhases(both(phase.Dual)), func(o *redis.Options) {
		o.Addr, o.MaxRetries, o.DialerRetries = link.Addr(), -1, 1 // sent again the read would be whole
	})
	p := start(t, dual, backing)
	for _, absent := range []bool{false, true} {
		b := loggedIn(t, p, "anna")
		name := sessionKey(t, b.cookie)
		before := link.Passed(redistest.ToClient)
		must(t, dual.Get(t.Context(), name).Err())
		whole := link.Passed(redistest.ToClient) - before
		for _, cut := range []int64{1, 5, whole / 2, whole - 1} { // 5 is a whole answer that there is none
			if absent {
				must(t, raw.Del(t.Context(), "cw:test:"+name).Err()) // it is under the legacy name alone
				cut = min(cut, 5)
			}
			calls := backing.calls.Load()
			link.CutAfter(redistest.ToClient, cut)
			b.want(t, p, "/me", http.StatusOK)
			link.Resume(redistest.ToClient)
			if backing.calls.Load() == calls || !p.sessions.Suspect() {
				t.Errorf("absent %v, cut after %d of %d bytes: the database was not asked, or Redis is trusted still", absent, cut, whole)
			}
			trusts(t, p)
		}
	}
}

// TestRefreshAndLogoutInPhases is TestLogoutAgainstRefresh where two phases meet.
func TestRefreshAndLogoutInPhases(t *testing.T) {
	for _, mix := range mixes {
		if mix[0] == mix[1] {
			continue
		}
		t.Run(fmt.Sprintf("%s and %s", mix[0], mix[1]), func(t *testing.T) {
			server := redistest.Shared(t)
			backing := session.NewMemory()
			eager := func(c *session.Config) { c.RefreshEvery = 1 }
			_, first := phasefleet.Open(t, server, rekey.WithPhases(both(mix[0])), crowd)
			_, second := phasefleet.Open(t, server, rekey.WithPhases(both(mix[1])), crowd)
			processes := []*process{start(t, first, backing, eager), start(t, second, backing, eager)}
			for round := range 40 {
				b := loggedIn(t, processes[round%2], "anna")
				var group sync.WaitGroup
				begin := make(chan struct{})
				for i := range 4 {
					group.Go(func() {
						<-begin
						b.copy().get(processes[i%2], "/me")
					})
				}
				group.Go(func() {
					<-begin
					b.copy().get(processes[(round/2)%2], "/logout")
				})
				close(begin)
				group.Wait()
				if inRedis(t, first, b.cookie) || inRedis(t, second, b.cookie) {
					t.Fatal("the session is in Redis after its log-out")
				}
			}
		})
	}
}

// TestWalk walks two processes from legacy to prefixed and back, while teachers log in and out and go on
// working. Nobody is refused, and nobody is let in whose session has ended.
func TestWalk(t *testing.T) {
	const teachers = 12
	server := redistest.Start(t)
	backing := session.NewMemory()
	bare := server.Client()
	var sources [2]*rekey.Manual
	var instances [2]*rekey.Rekey
	var processes [2]*process
	for i := range sources {
		sources[i] = rekey.NewManual(both(phase.Legacy))
		var rdb *redis.Client
		instances[i], rdb = phasefleet.Open(t, server, rekey.WithSource(sources[i]), crowd)
		processes[i] = start(t, rdb, backing, func(c *session.Config) { c.RefreshEvery = 1 })
	}
	run, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var asked, logins atomic.Int64
	for n := range teachers {
		load.Go(func() { work(run, t, fmt.Sprint("teacher", n), processes[:], &asked, &logins) })
	}
	w := walk{t: t, bare: bare, sources: sources, instances: instances, asked: &asked}
	w.to(phase.Guard)
	w.to(phase.Dual)
	w.copyAll("", targetPrefix) // the backfill
	w.to(phase.Settled)
	w.to(phase.Sealed)
	w.removeAll("") // the clean-up
	w.to(phase.Prefixed)
	w.to(phase.Sealed)
	w.to(phase.Dual)
	w.copyAll(targetPrefix, "") // the reverse sweep
	w.to(phase.Guard)
	w.to(phase.Legacy)
	w.removeAll(targetPrefix) // the purge
	stop()
	load.Wait()
	t.Logf("%d requests, %d logins", asked.Load(), logins.Load())
	for _, p := range processes {
		if p.sessions.Suspect() {
			t.Error("a command failed")
		}
		if n := counter(t, p.sessions, "classwaves_session_integrity_failures_total", "tampered"); n != 0 {
			t.Errorf("%v sessions did not open", n)
		}
	}
	for n := range teachers {
		teacher := fmt.Sprint("teacher", n)
		if got := len(members(t, processes[0].rdb, teacher)); got > 3 {
			t.Errorf("%d sessions of a teacher", got)
		}
	}
}

// work is a teacher with several browsers.
func work(run context.Context, t *testing.T, teacher string, processes []*process, asked, logins *atomic.Int64) {
	var open []*browser
	for round := 0; run.Err() == nil; round++ {
		p, q := processes[round%2], processes[(round/3)%2]
		b := newBrowser()
		if status, body := b.get(p, "/login/"+teacher); status != http.StatusOK {
			t.Errorf("login: status %d: %s", status, body)
			return
		}
		logins.Add(1)
		open = append(open, b)
		var ended []*browser
		if len(open) > 3 {
			ended, open = append(ended, open[0]), open[1:]
		}
		switch round % 7 {
		case 2:
			out := open[0].copy()
			if status, body := open[0].get(q, "/logout"); status != http.StatusOK {
				t.Errorf("log-out: status %d: %s", status, body)
			}
			ended, open = append(ended, out), open[1:]
		case 5:
			for _, b := range open {
				ended = append(ended, b.copy())
			}
			if status, body := newBrowser().get(q, "/everywhere/"+teacher); status != http.StatusOK {
				t.Errorf("log-out everywhere: status %d: %s", status, body)
			}
			open = nil
		}
		for _, p := range processes {
			for _, b := range open {
				if status, body := b.get(p, "/me"); status != http.StatusOK {
					t.Errorf("a living session: status %d: %s", status, body)
				}
			}
			for _, b := range ended {
				if status, body := b.copy().get(p, "/me"); status != http.StatusUnauthorized {
					t.Errorf("an ended session: status %d: %s", status, body)
				}
			}
			asked.Add(int64(len(open) + len(ended)))
		}
	}
}

// targetPrefix is what the plan puts before the names. This test does the sweeps' work on the wire,
// so it has to know.
const targetPrefix = "cw:test:"

type walk struct {
	t         *testing.T
	bare      *redis.Client
	sources   [2]*rekey.Manual
	instances [2]*rekey.Rekey
	asked     *atomic.Int64
}

// to takes one process after the other to a phase, each while the load goes on.
func (w walk) to(p phase.Phase) {
	w.t.Helper()
	for i, r := range w.instances {
		w.sources[i].Set(both(p))
		redistest.WaitFor(w.t, within, func() bool { return r.Phases()[rules[0]] == p && r.Phases()[rules[1]] == p })
		must(w.t, r.WaitReached(w.t.Context()))
		before := w.asked.Load()
		redistest.WaitFor(w.t, within, func() bool { return w.t.Failed() || w.asked.Load() > before+200 })
		if w.t.Failed() {
			w.t.Fatalf("on the way to %s", p)
		}
	}
}

// names are the physical names under a prefix.
func (w walk) names(prefix string) (names []string) {
	for _, logical := range []string{sessionKey(w.t, "x"), setKey(w.t, "x")} {
		scan := w.bare.Scan(w.t.Context(), 0, prefix+strings.TrimSuffix(logical, "x")+"*", 1000).Iterator()
		for scan.Next(w.t.Context()) {
			names = append(names, scan.Val())
		}
		must(w.t, scan.Err())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (w walk) copyAll(from, to string) {
	for _, name := range w.names(from) {
		err := w.bare.Copy(w.t.Context(), name, to+strings.TrimPrefix(name, from), 0, false).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			w.t.Fatal(err)
		}
	}
}

func (w walk) removeAll(prefix string) {
	for _, name := range w.names(prefix) {
		must(w.t, w.bare.Unlink(w.t.Context(), name).Err())
	}
}
