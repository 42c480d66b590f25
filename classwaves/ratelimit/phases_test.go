package ratelimit_test

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// Two processes in every two phases that may stand beside each other, each phase with itself included.
func TestExactlyTheLimitInEveryPhase(t *testing.T) {
	for _, a := range phase.Of(phase.Relocate) {
		for _, b := range phase.Of(phase.Relocate) {
			if a > b || a != b && !phase.Beside(phase.Relocate, a, b) {
				continue
			}
			t.Run(fmt.Sprintf("%v and %v", a, b), func(t *testing.T) {
				s := redistest.Shared(t)
				one, two := newMember(t, s, a), newMember(t, s, b)
				limit := ratelimit.Limit{Name: "general", Points: 100, Window: time.Minute, Block: time.Hour}
				if passed := hits(t, 1000, limit, "u1", one.limiter, two.limiter); passed != 100 {
					t.Errorf("%d of 1,000 hits passed, want 100", passed)
				}
				for _, m := range []*member{one, two} {
					if d := take(t, m.limiter, limit, "u1"); d.Allowed || d.RetryAfter <= limit.Window {
						t.Errorf("after the excess: %+v, want a block", d)
					}
				}
				if n := s.Client().DBSize(t.Context()).Val(); n != 1 {
					t.Errorf("%d keys in the server, want one copy", n)
				}
			})
		}
	}
}

// What the flag did before: one process is switched, the other is not, and nothing keeps them from
// standing side by side. A client gets its budget from each.
func TestPlainFlipGivesTheBudgetTwice(t *testing.T) {
	s := redistest.Shared(t)
	old, flipped := newMember(t, s, phase.Legacy), newMember(t, s, phase.Prefixed)
	if passed := hits(t, 1000, ratelimit.General, "u1", old.limiter, flipped.limiter); passed != 200 {
		t.Errorf("%d of 1,000 hits passed, want 200", passed)
	}
	// And a flip of both pardons whoever was blocked.
	hits(t, 200, ratelimit.Auth, "u1", old.limiter)
	if d := take(t, flipped.limiter, ratelimit.Auth, "u1"); !d.Allowed {
		t.Errorf("%+v: the plain flip kept the block", d)
	}
}

// Hits go on while a fleet is walked up and down: each thousand of them on a subject of its own, so
// that at every step somebody's budget is half used.
func TestWalkGivesNobodyAFreshBudget(t *testing.T) {
	s := redistest.Shared(t)
	fleet := []*member{newMember(t, s, phase.Legacy), newMember(t, s, phase.Legacy)}
	limit := ratelimit.Limit{Name: "general", Points: 100, Window: time.Hour, Block: 10 * time.Hour}
	blocked := newBlocked(t, fleet[0].limiter, limit)

	load := newLoad(t, fleet, limit)
	for range 3 {
		for _, to := range []phase.Phase{phase.Hold, phase.Move, phase.Prefixed, phase.Move, phase.Hold, phase.Legacy} {
			sweepBefore(t, s, fleet[0].rekey.Phases()[rule], to)
			for _, m := range fleet {
				m.walk(t, to)
				load.hear(t, 300)
				blocked.check(t, s, m)
			}
		}
	}
	load.end(t)
}

// sweepBefore proves the gate of a step, as rekey relocate and rekey reverse do.
func sweepBefore(t *testing.T, s *redistest.Server, from, to phase.Phase) {
	t.Helper()
	var kind sweep.Kind
	switch {
	case from == phase.Move && to == phase.Prefixed:
		kind = sweep.Relocate
	case from == phase.Hold && to == phase.Legacy:
		kind = sweep.Reverse
	default:
		return
	}
	if _, err := sweep.Run(t.Context(), sweep.Options{Client: s.Client(), Plan: phasefleet.Plan(t), Rule: rule, Kind: kind, Phase: from}); err != nil {
		t.Fatal(err)
	}
}

// blocked is a subject that used its budget up before the walk.
type blocked struct {
	limit ratelimit.Limit
	left  time.Duration
	count int
}

func newBlocked(t *testing.T, l *ratelimit.Limiter, limit ratelimit.Limit) *blocked {
	t.Helper()
	b := &blocked{limit: limit, left: limit.Block, count: limit.Points + 1}
	hits(t, b.count, limit, "blocked", l)
	return b
}

// check makes a hit and holds that the block and its end are those of before.
func (b *blocked) check(t *testing.T, s *redistest.Server, m *member) {
	t.Helper()
	d := take(t, m.limiter, b.limit, "blocked")
	if d.Allowed || d.RetryAfter > b.left || d.RetryAfter <= b.limit.Window {
		t.Errorf("in %v a blocked subject got %+v, its block had %v left", m.rekey.Phases()[rule], d, b.left)
	}
	b.count++
	b.left = d.RetryAfter
	if got := m.client.Get(t.Context(), key(t, b.limit, "blocked")).Val(); got != strconv.Itoa(b.count) {
		t.Errorf("in %v its counter is %s, want %d", m.rekey.Phases()[rule], got, b.count)
	}
}

// load makes hits without pause.
type load struct {
	fleet []*member
	limit ratelimit.Limit
	each  int64 // hits of a subject

	next   atomic.Int64 // hits begun
	passed sync.Map     // of *atomic.Int64, by the subject's number
	last   atomic.Int64 // hits from this one on are not made
	work   sync.WaitGroup
}

func newLoad(t *testing.T, fleet []*member, limit ratelimit.Limit) *load {
	l := &load{fleet: fleet, limit: limit, each: 1000}
	l.last.Store(math.MaxInt64)
	for i := range 8 {
		l.work.Go(func() {
			for n := l.next.Add(1) - 1; n < l.last.Load(); n = l.next.Add(1) - 1 {
				l.hit(t, l.fleet[i%len(l.fleet)], n/l.each)
			}
		})
	}
	return l
}

func (l *load) hit(t *testing.T, m *member, subject int64) {
	d, err := m.limiter.Take(t.Context(), l.limit, strconv.FormatInt(subject, 10))
	if err != nil || d.Insured {
		t.Errorf("%+v, %v", d, err)
	}
	passed, _ := l.passed.LoadOrStore(subject, new(atomic.Int64))
	if d.Allowed {
		passed.(*atomic.Int64).Add(1)
	}
}

// hear waits until that many more hits have begun.
func (l *load) hear(t *testing.T, n int64) {
	t.Helper()
	goal := l.next.Load() + n
	redistest.WaitFor(t, patient, func() bool { return l.next.Load() >= goal })
}

// end lets the last subject have all of its hits, and looks at each one.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.last.Store((l.next.Load()/l.each + 2) * l.each) // so far ahead that nobody is past it
	l.work.Wait()
	subjects := 0
	l.passed.Range(func(subject, passed any) bool {
		subjects++
		if n := passed.(*atomic.Int64).Load(); n != int64(l.limit.Points) {
			t.Errorf("subject %v: %d hits of %d passed, want %d", subject, n, l.each, l.limit.Points)
		}
		name := key(t, l.limit, strconv.FormatInt(subject.(int64), 10))
		if got := l.fleet[0].client.Get(t.Context(), name).Val(); got != strconv.FormatInt(l.each, 10) {
			t.Errorf("subject %v: counted %s hits of %d", subject, got, l.each)
		}
		return true
	})
	t.Logf("%d subjects of %d hits", subjects, l.each)
}
