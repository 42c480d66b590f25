package load

import (
	"context"
	"math/rand/v2"
	"net/http"
)

// student is one seat of a class session: students come and go on it, one after the other.
type student struct {
	g    *Generator
	c    *class
	seat int
	rng  *rand.Rand
}

// play takes part until the class halts.
func (s *student) play(ctx context.Context) {
	for {
		s.attend(ctx)
		if !s.g.rest(s.rng, s.c.stop) || ctx.Err() != nil {
			return
		}
	}
}

// attend is one student: joins, says something, and goes.
func (s *student) attend(ctx context.Context) {
	b := s.g.newBrowser()
	defer b.close()
	if !s.join(ctx, b) {
		return
	}
	l := s.open(ctx, b)
	if l == nil {
		return
	}
	defer func() { l.close(s.rng.IntN(4) > 0) }()
	fenced, err := l.learn(ctx)
	if err != nil {
		s.broken(ctx)
		return
	}
	alerts := 0
	for range 4 + s.rng.IntN(12) {
		if !s.g.rest(s.rng, s.c.stop) {
			return
		}
		if !s.say(ctx, l, fenced, &alerts) {
			return
		}
	}
	if s.rng.IntN(3) > 0 {
		s.tell(ctx, l, fenced, message{Kind: "leave"}, &s.c.left)
	}
}

// join joins by code.
func (s *student) join(ctx context.Context, b *browser) bool {
	const op = "join"
	c := s.c
	body := map[string]string{"code": c.code, "name": "A Student"}
	var want string // empty: any of its groups
	if s.seat < len(c.groups) || s.rng.IntN(2) == 0 {
		want = c.groups[s.seat%len(c.groups)].ID
		body["group"] = want
	}
	c.joined.begin()
	a := b.do(ctx, request{op: op, method: http.MethodPost, path: "/api/v1/join", body: body})
	if !s.g.decided(ctx, op, a) {
		return false // and it stays open whether it is counted
	}
	switch a.status {
	case http.StatusCreated:
	case http.StatusNotFound:
		c.joined.undo()
		if !c.ending.Load() {
			s.g.record.violate(LostCode, "join: 404 for the code of a class session that goes on")
		}
		return false
	default:
		c.joined.undo()
		s.g.unexpected(op, a)
		return false
	}
	var out struct {
		SessionID string `json:"sessionId"`
		GroupID   string `json:"groupId"`
		Title     string `json:"title"`
	}
	if err := a.decode(&out); err != nil || out.SessionID != c.id {
		c.joined.undo()
		s.g.record.violate(WrongClass, "join: the code led to another class session")
		return false
	}
	s.g.record.count(func(r *Report) { r.Joins++ })
	if out.GroupID != want && want != "" || !c.has(out.GroupID) || out.Title != c.title {
		s.g.record.violate(WrongClass, "join: another group or title than those of the class session")
	}
	if c.ending.Load() {
		return false // it may have come too late to be counted
	}
	c.joined.finish()
	return true
}

// open opens the student's WebSocket.
func (s *student) open(ctx context.Context, b *browser) *listener {
	const op = "open socket"
	l, a := s.g.listen(ctx, b, s.c)
	switch {
	case l != nil:
		return l
	case !s.g.decided(ctx, op, a):
	case a.status == http.StatusNotFound && s.c.ending.Load():
	default:
		s.g.unexpected(op, a)
	}
	return nil
}

// say says something.
func (s *student) say(ctx context.Context, l *listener, fenced string, alerts *int) bool {
	c := s.c
	before, other := l.version(), c.another(l, s.rng)
	var ok bool
	switch n := s.rng.IntN(10); {
	case n < 4:
		ok = s.score(ctx, l, fenced, "engagement", &c.engagement)
	case n < 7:
		ok = s.score(ctx, l, fenced, "participation", &c.participation)
	case n < 8 && s.seat < len(c.groups): // the speaker of a group
		ok = s.setReady(ctx, l, fenced)
	case n < 9 && *alerts > 0:
		if ok = s.tell(ctx, l, fenced, message{"alert", 0}, &c.cleared); ok {
			*alerts--
		}
	default:
		if ok = s.tell(ctx, l, fenced, message{"alert", 1}, &c.raised); ok {
			*alerts++
		}
	}
	if !ok {
		return false
	}
	// What was said has a version that is higher than all before it. It is heard here, and by others who
	// were listening when it was said.
	if !l.await(ctx, func() bool { return l.peaks.version > before }) && !c.ending.Load() {
		s.unheard("here")
	}
	if other != nil && !other.await(ctx, func() bool { return other.peaks.version > before }) && !c.ending.Load() {
		s.unheard("by another")
	}
	return true
}

func (s *student) unheard(where string) {
	if s.g.c.Faults {
		s.g.record.count(func(r *Report) { r.Lagging++ })
		return
	}
	s.g.record.violate(Unheard, "socket: figures that a message changed were not heard %s", where)
}

// score sends a sample of whole points, so that sums are exact.
func (s *student) score(ctx context.Context, l *listener, fenced, kind string, of *samples) bool {
	value := s.rng.Int64N(101)
	// The sum first: it is compared only when nothing is under way.
	of.sum.Add(value)
	ok := s.tell(ctx, l, fenced, message{kind, float64(value)}, &of.tally)
	if !ok {
		of.sum.Add(-value)
	}
	return ok
}

func (s *student) setReady(ctx context.Context, l *listener, fenced string) bool {
	ready := &s.c.ready[s.seat]
	yes := s.rng.IntN(2)
	ready.Store(-1)
	// Of the counts it changes none.
	if !s.tell(ctx, l, fenced, message{"ready", float64(yes)}, new(tally)) {
		return false
	}
	ready.Store(int32(yes) + 1)
	return true
}

// tell sends a message that is to be counted. false: it was not, or that is open.
func (s *student) tell(ctx context.Context, l *listener, fenced string, m message, of *tally) bool {
	of.begin()
	refused, err := l.say(ctx, m, fenced)
	switch {
	case err != nil:
		s.broken(ctx)
		return false
	case refused:
		of.undo()
		switch {
		case s.c.ending.Load():
		case s.g.c.Faults:
			s.g.record.count(func(r *Report) { r.Unavailable++ })
		default:
			s.g.record.violate(Unexpected, "socket: %s was refused", m.Kind)
		}
		return false
	}
	of.finish()
	return true
}

// broken counts a connection that ended although nobody ended it.
func (s *student) broken(ctx context.Context) {
	switch {
	case ctx.Err() != nil || s.c.ending.Load():
	case s.g.c.Faults:
		s.g.record.count(func(r *Report) { r.Broken++ })
	default:
		s.g.record.violate(Broken, "socket: the connection ended")
	}
}
