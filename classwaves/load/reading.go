package load

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// stale counts something that was read and is not what was written.
func (t *teacher) stale(format string, args ...any) {
	if t.g.c.Faults {
		t.g.record.count(func(r *Report) { r.Lagging++ })
		return
	}
	t.g.record.violate(Stale, format, args...)
}

// known is one of the teacher's class sessions, of those that go on or have ended; nil without any.
func (t *teacher) known() *class {
	if len(t.all) == 0 {
		return nil
	}
	return t.all[t.rng.IntN(len(t.all))]
}

// list looks at the list of class sessions: all of the newest are there, as they were left.
func (t *teacher) list(ctx context.Context) {
	const op = "list classes"
	a, ok := t.ask(ctx, t.any(), op, http.MethodGet, "/api/v1/sessions", nil)
	if !ok {
		return
	}
	var out struct {
		Sessions []classBody `json:"sessions"`
	}
	if a.status != http.StatusOK || a.decode(&out) != nil {
		t.g.unexpected(op, a)
		return
	}
	shown := make(map[string]classBody)
	for _, c := range out.Sessions {
		shown[c.ID] = c
		if c.TeacherID != t.id {
			t.g.record.violate(ForeignSession, "%s: another teacher's class session is in the list", op)
		}
	}
	for _, c := range t.all {
		switch got, ok := shown[c.id]; {
		case !ok:
			t.stale("%s: one that is %s is missing", op, c.state)
			return
		case got.State != c.state || got.Title != c.title:
			t.stale("%s: one is %s and shown as %s", op, c.state, got.State)
			return
		}
	}
}

// detail looks at one class session.
func (t *teacher) detail(ctx context.Context) {
	const op = "look at a class"
	c := t.known()
	if c == nil {
		return
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodGet, "/api/v1/sessions/"+c.id, nil)
	if !ok {
		return
	}
	var out classBody
	switch {
	case a.status == http.StatusNotFound:
		t.stale("%s: 404 for one of its own", op)
	case a.status != http.StatusOK || a.decode(&out) != nil:
		t.g.unexpected(op, a)
	case out.ID != c.id || out.TeacherID != t.id:
		t.g.record.violate(ForeignSession, "%s: another class session was shown", op)
	case out.State != c.state || out.Title != c.title || !c.same(out.Groups):
		t.stale("%s: it is %s and shown as %s", op, c.state, out.State)
	case c.state == ended && out.AccessCode != "":
		t.stale("%s: it has ended and has a code", op)
	case c.state != ended && out.AccessCode != c.code:
		t.stale("%s: another code than before", op)
	}
}

// analytics looks at the figures of a class session while its students go on.
func (t *teacher) analytics(ctx context.Context) {
	if e := t.one(); e != nil {
		t.figures(ctx, e.class, false)
	} else if c := t.known(); c != nil {
		t.figures(ctx, c, false)
	}
}

// figures looks at the figures of a class session. Where it is quiet no student is at it.
//
// Where faults are injected figures may lag behind: what a server has not told the database yet the
// others do not know while the cache is away. At the end of the play they must arrive.
func (t *teacher) figures(ctx context.Context, c *class, quiet bool) {
	until := time.Now().Add(t.g.c.Patience)
	for {
		wrong := t.wrongFigures(ctx, c, quiet)
		switch {
		case wrong == "":
			return
		case !t.g.c.Faults, t.final && time.Now().After(until):
			t.g.record.violate(Miscounted, "look at figures: %s", wrong)
			return
		case !t.final:
			t.g.record.count(func(r *Report) { r.Lagging++ })
			return
		}
		wait(ctx.Done(), t.g.c.Patience/50)
	}
}

// wrongFigures reads figures and says what is wrong with them.
func (t *teacher) wrongFigures(ctx context.Context, c *class, quiet bool) string {
	const op = "look at figures"
	before := c.look()
	a, ok := t.ask(ctx, t.any(), op, http.MethodGet, "/api/v1/sessions/"+c.id+"/analytics", nil)
	if !ok {
		return ""
	}
	var f figures
	if a.status != http.StatusOK || a.decode(&f) != nil || f.SessionID != c.id {
		t.g.unexpected(op, a)
		return ""
	}
	if wrong := t.judge(op, c, f, before); wrong != "" {
		return wrong
	}
	if n, known := c.readyGroups(); quiet && known && f.ReadyGroups != n {
		return fmt.Sprintf("%d groups are ready, and it is %d", f.ReadyGroups, n)
	}
	return ""
}

// judge compares figures with what was done since a look before they were asked for, and says what is
// wrong with them.
func (t *teacher) judge(op string, c *class, f figures, before look) string {
	if f.Version < before.version && !t.g.c.Faults {
		t.g.record.violate(WentBack, "%s: a version lower than one that was shown before", op)
	}
	c.saw(f.Version)
	return f.wrong(before, c.look())
}

// groupStatus looks at the groups, which may be some seconds old.
func (t *teacher) groupStatus(ctx context.Context) {
	const op = "look at groups"
	e := t.one()
	if e == nil {
		return
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodGet, "/api/v1/sessions/"+e.id+"/groups", nil)
	if !ok {
		return
	}
	var out struct {
		Groups []struct {
			group
			Participants int64 `json:"participants"`
		} `json:"groups"`
	}
	if a.status != http.StatusOK || a.decode(&out) != nil {
		t.g.unexpected(op, a)
		return
	}
	var names []group
	var participants int64
	for _, g := range out.Groups {
		names = append(names, g.group)
		participants += g.Participants
	}
	if !e.same(names) {
		t.g.record.violate(WrongClass, "%s: other groups than those of the class session", op)
	}
	if most := e.look().joined.begun; participants > most && !t.g.c.Faults {
		t.g.record.violate(Miscounted, "%s: %d participants joined, and at most %d did", op, participants, most)
	}
}

// dashboard looks at all class sessions in one.
func (t *teacher) dashboard(ctx context.Context) {
	const op = "look at the dashboard"
	mine := slices.Clone(t.all)
	before := make([]look, len(mine))
	for i, c := range mine {
		before[i] = c.look()
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodGet, "/api/v1/dashboard", nil)
	if !ok {
		return
	}
	var out struct {
		LiveSessions int       `json:"liveSessions"`
		Participants int64     `json:"participants"`
		Sessions     []figures `json:"sessions"`
	}
	if a.status != http.StatusOK || a.decode(&out) != nil {
		t.g.unexpected(op, a)
		return
	}
	var participants int64
	for _, f := range out.Sessions {
		participants += f.Participants
		i := slices.IndexFunc(mine, func(c *class) bool { return c.id == f.SessionID })
		switch owner, known := t.g.registry.owner(f.SessionID); {
		case i >= 0 && mine[i].over.Load():
			t.stale("%s: a class session that has ended is shown", op)
		case i >= 0:
			switch wrong := t.judge(op, mine[i], f, before[i]); {
			case wrong == "":
			case t.g.c.Faults:
				t.g.record.count(func(r *Report) { r.Lagging++ })
			default:
				t.g.record.violate(Miscounted, "%s: %s", op, wrong)
			}
		case known && owner != t.n:
			t.g.record.violate(ForeignSession, "%s: another teacher's class session is shown", op)
		}
	}
	if participants != out.Participants || len(out.Sessions) != out.LiveSessions {
		t.g.record.violate(Miscounted, "%s: its sums are not those of its class sessions", op)
	}
}

// foreign looks at what is another teacher's.
func (t *teacher) foreign(ctx context.Context) {
	const op = "look at others' classes"
	c := t.g.registry.foreign(t.rng, t.n)
	if c == nil {
		return
	}
	method, path := http.MethodGet, "/api/v1/sessions/"+c.id
	switch t.rng.IntN(5) {
	case 0:
		path += "/analytics"
	case 1:
		path += "/groups"
	case 2:
		method, path = http.MethodPost, path+"/pause"
	case 3:
		t.foreignSocket(ctx, c)
		return
	}
	a, ok := t.ask(ctx, t.any(), op, method, path, nil)
	switch {
	case !ok || a.status == http.StatusNotFound:
	case a.status == http.StatusOK || a.status == http.StatusConflict:
		t.g.record.violate(ForeignSession, "%s: %s was answered with %d", op, method, a.status)
	default:
		t.g.unexpected(op, a)
	}
}

func (t *teacher) foreignSocket(ctx context.Context, c *class) {
	const op = "look at others' classes"
	l := t.any()
	l.login = l.cookie
	ear, a := t.g.listen(ctx, l.browser, c)
	switch {
	case ear != nil:
		t.g.record.violate(ForeignSession, "%s: a WebSocket was opened", op)
		ear.close(false)
	case !t.g.decided(ctx, op, a) || a.status == http.StatusNotFound:
	case a.status == http.StatusUnauthorized:
		t.lost(l, op, a)
	default:
		t.g.unexpected(op, a)
	}
}
