package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a class session.
const (
	created = "created"
	active  = "active"
	paused  = "paused"
	ended   = "ended"
)

// group is a group of a class session.
type group struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// class is a class session, and what must be true of it.
type class struct {
	teacher         int
	id, title, code string
	groups          []group
	state           string // its teacher's alone

	// ending is set before its end is asked for, over when the end is known.
	ending, over atomic.Bool
	// stop ends the students' parts.
	stop     chan struct{}
	stopOnce sync.Once
	students sync.WaitGroup

	joined, left, raised, cleared tally
	engagement, participation     samples
	ready                         []readiness // of the groups, each one's first student says

	version atomic.Int64 // the highest that anybody has seen
	seen    figuresSeen

	mu        sync.Mutex
	listeners []*listener // that are open
}

// opened notes a listener, closed that it is over.
func (c *class) opened(l *listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, l)
}

func (c *class) closed(l *listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = slices.DeleteFunc(c.listeners, func(other *listener) bool { return other == l })
}

// another is a listener other than l, most likely at another server; nil if there is none.
func (c *class) another(l *listener, rng *rand.Rand) *listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.listeners); n > 0 {
		if other := c.listeners[rng.IntN(n)]; other != l {
			return other
		}
	}
	return nil
}

// halt lets the students finish what they are doing, and waits for that.
func (c *class) halt() {
	c.stopOnce.Do(func() { close(c.stop) })
	c.students.Wait()
}

// has says whether a group is the class's.
func (c *class) has(id string) bool {
	return slices.ContainsFunc(c.groups, func(g group) bool { return g.ID == id })
}

// same says whether these are the class's groups, in the order in which its teacher named them.
func (c *class) same(groups []group) bool { return slices.Equal(groups, c.groups) }

// tally counts what was begun and what is known to be done.
type tally struct{ begun, done atomic.Int64 }

func (t *tally) begin()  { t.begun.Add(1) }
func (t *tally) finish() { t.done.Add(1) }

// undo is for what is known not to be done.
func (t *tally) undo() { t.begun.Add(-1) }

// samples are scores.
type samples struct {
	tally
	sum atomic.Int64 // of those that are done
}

// readiness is what a group's speaker said last: 0 nothing, 1 not ready, 2 ready, -1 not known.
type readiness struct{ atomic.Int32 }

// figures are what the server shows of a class session.
type figures struct {
	SessionID            string  `json:"sessionId"`
	ActiveGroups         int64   `json:"activeGroups"`
	ReadyGroups          int64   `json:"readyGroups"`
	Participants         int64   `json:"participants"`
	AverageEngagement    float64 `json:"averageEngagement"`
	AverageParticipation float64 `json:"averageParticipation"`
	EngagementSamples    int64   `json:"engagementSamples"`
	ParticipationSamples int64   `json:"participationSamples"`
	ActiveAlerts         int64   `json:"activeAlerts"`
	Version              int64   `json:"version"`
}

// look is the counts at one moment.
type look struct {
	joined, left, raised, cleared, engagement, participation span
	engagementSum, participationSum                          int64
	version                                                  int64
}

type span struct{ begun, done int64 }

// look reads the counts. What is done is read first: nothing is done before it was begun.
func (c *class) look() look {
	read := func(t *tally) span {
		done := t.done.Load()
		return span{begun: t.begun.Load(), done: done}
	}
	return look{
		version: c.version.Load(),
		joined:  read(&c.joined), left: read(&c.left), raised: read(&c.raised), cleared: read(&c.cleared),
		engagement: read(&c.engagement.tally), participation: read(&c.participation.tally),
		engagementSum: c.engagement.sum.Load(), participationSum: c.participation.sum.Load(),
	}
}

// still says that nothing was under way, nor is it open whether something was done.
func (l look) still() bool {
	for _, s := range []span{l.joined, l.left, l.raised, l.cleared, l.engagement, l.participation} {
		if s.begun != s.done {
			return false
		}
	}
	return true
}

// wrong says what is wrong with figures that were read between two looks, empty if nothing is.
func (f figures) wrong(before, after look) string {
	between := func(what string, got, least, most int64) string {
		least = max(least, 0)
		if got >= least && got <= most {
			return ""
		}
		if least == most {
			return fmt.Sprintf("%d %s, and there are %d", got, what, least)
		}
		return fmt.Sprintf("%d %s, and there are %d to %d", got, what, least, most)
	}
	for _, text := range []string{
		between("participants", f.Participants, before.joined.done-after.left.begun, after.joined.begun-before.left.done),
		between("alerts", f.ActiveAlerts, before.raised.done-after.cleared.begun, after.raised.begun-before.cleared.done),
		between("samples of engagement", f.EngagementSamples, before.engagement.done, after.engagement.begun),
		between("samples of participation", f.ParticipationSamples, before.participation.done, after.participation.begun),
	} {
		if text != "" {
			return text
		}
	}
	if before != after || !before.still() {
		return ""
	}
	for _, s := range []struct {
		what   string
		got    float64
		sum, n int64
	}{{"engagement", f.AverageEngagement, before.engagementSum, before.engagement.done}, {"participation", f.AverageParticipation, before.participationSum, before.participation.done}} {
		if s.n == 0 {
			continue
		}
		if want := float64(s.sum) / float64(s.n); s.got < want-0.001 || s.got > want+0.001 {
			return fmt.Sprintf("%s of %.3f on average, and it is %.3f", s.what, s.got, want)
		}
	}
	return ""
}

// readyGroups is how many groups are ready, if that is known of all.
func (c *class) readyGroups() (n int64, known bool) {
	for i := range c.ready {
		switch c.ready[i].Load() {
		case -1:
			return 0, false
		case 2:
			n++
		}
	}
	return n, true
}

// saw notes a version that somebody was shown.
func (c *class) saw(version int64) {
	for {
		have := c.version.Load()
		if have >= version || c.version.CompareAndSwap(have, version) {
			return
		}
	}
}

// figuresSeen remembers the figures of each version: there must be only one.
type figuresSeen struct {
	mu sync.Mutex
	of map[int64]figures
}

// figuresMax bounds them.
const figuresMax = 4096

// differ notes figures; true when others had the same version.
func (s *figuresSeen) differ(f figures) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= figuresMax {
		s.of = make(map[int64]figures)
	}
	before, ok := s.of[f.Version]
	s.of[f.Version] = f
	return ok && before != f
}

// peaks are the versions that a connection heard, as far as each was higher than those before it.
type peaks struct {
	version int64
	recent  []peak
}

type peak struct {
	version int64
	at      time.Time
}

// reorderTime is how far apart two processes may publish what they wrote one after the other.
const reorderTime = 3 * time.Second

// heard takes a version. late says that it is lower than one before it, back that it is lower than one
// heard so long ago that it cannot just be late.
func (p *peaks) heard(version int64, now time.Time) (late, back bool) {
	if version > p.version {
		p.version = version
		p.recent = append(p.recent, peak{version, now})
		// The last one from before is kept: it says what was heard long ago.
		for len(p.recent) > 1 && now.Sub(p.recent[1].at) > reorderTime {
			p.recent = p.recent[1:]
		}
		return false, false
	}
	for _, old := range p.recent {
		if old.version > version && now.Sub(old.at) > reorderTime {
			return true, true
		}
	}
	return version < p.version, false
}
