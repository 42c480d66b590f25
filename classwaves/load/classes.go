package load

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// newClass is a class session to be created.
type newClass struct {
	Title  string   `json:"title"`
	Groups []string `json:"groups,omitempty"`
}

// classBody is a class session as the API shows it.
type classBody struct {
	ID         string  `json:"id"`
	Title      string  `json:"title"`
	State      string  `json:"state"`
	AccessCode string  `json:"accessCode"`
	TeacherID  string  `json:"teacherId"`
	Groups     []group `json:"groups"`
}

// create creates a class session, starts it, and lets students in.
func (t *teacher) create(ctx context.Context) {
	if len(t.classes) >= maxClasses {
		return
	}
	const op = "create a class"
	title := fmt.Sprintf("Class %d", len(t.all)+1)
	a, ok := t.ask(ctx, t.any(), op, http.MethodPost, "/api/v1/sessions", newClass{title, []string{"Red", "Blue"}})
	if !ok {
		return
	}
	var out classBody
	if a.status != http.StatusCreated || a.decode(&out) != nil || out.AccessCode == "" || len(out.Groups) != 2 || out.State != created || out.TeacherID != t.id {
		t.g.unexpected(op, a)
		return
	}
	c := &class{
		teacher: t.n, id: out.ID, title: title, code: out.AccessCode, groups: out.Groups, state: created,
		stop: make(chan struct{}), ready: make([]readiness, len(out.Groups)),
	}
	if other := t.g.registry.add(c); other != nil && !other.ending.Load() {
		t.g.record.violate(WrongClass, "%s: the code of another class session that goes on", op)
	}
	t.g.record.count(func(r *Report) { r.Classes++ })
	t.all = append(t.all, c)
	if len(t.all) > allMax {
		t.all = t.all[1:]
	}
	e := &taught{class: c}
	t.classes = append(t.classes, e)
	if t.rng.IntN(3) > 0 && !t.change(ctx, e, "start", active) {
		return
	}
	for seat := range t.g.c.Students {
		s := &student{g: t.g, c: c, seat: seat, rng: t.g.random(int(t.rng.Uint32()) + 1<<32)}
		c.students.Go(func() { s.play(ctx) })
	}
	t.attach(ctx, e)
}

// attach opens the teacher's WebSocket, if it has none.
func (t *teacher) attach(ctx context.Context, e *taught) {
	const op = "open socket"
	if e.ear != nil && !e.ear.ended() {
		return
	}
	l := t.any()
	if l == nil {
		return
	}
	l.login = l.cookie
	ear, a := t.g.listen(ctx, l.browser, e.class)
	switch {
	case ear != nil:
		e.ear = ear
	case !t.g.decided(ctx, op, a):
	case a.status == http.StatusUnauthorized:
		t.lost(l, op, a)
	default:
		t.g.unexpected(op, a)
	}
}

// change takes a class session to another state, and waits until it is heard. Where that fails nothing
// is known of the class any more, and it is forgotten.
func (t *teacher) change(ctx context.Context, e *taught, how, to string) bool {
	op := how + " a class"
	t.attach(ctx, e)
	heard := 0
	if e.ear != nil {
		heard = e.ear.stateCount()
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodPost, "/api/v1/sessions/"+e.id+"/"+how, nil)
	if !ok {
		t.forget(e)
		return false
	}
	var out classBody
	switch {
	case a.status == http.StatusOK && a.decode(&out) == nil && out.ID == e.id && out.State == to && out.TeacherID == t.id:
	case a.status == http.StatusConflict:
		t.stale("%s: 409 for one that is %s", op, e.state)
		t.forget(e)
		return false
	case a.status == http.StatusNotFound:
		t.stale("%s: 404 for one of its own", op)
		t.forget(e)
		return false
	default:
		t.g.unexpected(op, a)
		t.forget(e)
		return false
	}
	e.state = to
	if e.ear == nil {
		return true
	}
	if !e.ear.await(ctx, func() bool { return slices.Contains(e.ear.states[heard:], to) }) {
		if t.g.c.Faults {
			t.g.record.count(func(r *Report) { r.Lagging++ })
		} else {
			t.g.record.violate(Unheard, "socket: a change of state was not heard")
		}
	}
	return true
}

// pauseOrGoOn changes the state of one of the class sessions.
func (t *teacher) pauseOrGoOn(ctx context.Context) {
	if e := t.one(); e != nil {
		if e.state == active {
			t.change(ctx, e, "pause", paused)
		} else {
			t.change(ctx, e, "start", active)
		}
	}
}

// conflict asks for a change that the state does not allow.
func (t *teacher) conflict(ctx context.Context) {
	const op = "change wrongly"
	e := t.one()
	if e == nil {
		return
	}
	how := "pause"
	if e.state == active {
		how = "start"
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodPost, "/api/v1/sessions/"+e.id+"/"+how, nil)
	switch {
	case !ok || a.status == http.StatusConflict:
	case a.status == http.StatusOK:
		t.stale("%s: one that is %s could be changed by %s", op, e.state, how)
		t.forget(e)
	default:
		t.g.unexpected(op, a)
	}
}

func (t *teacher) one() *taught {
	if len(t.classes) == 0 {
		return nil
	}
	return t.classes[t.rng.IntN(len(t.classes))]
}

// endOne ends a class session: with its students still at it, or after a last look at its figures.
func (t *teacher) endOne(ctx context.Context) {
	if e := t.one(); e != nil {
		quiet := t.rng.IntN(4) > 0
		if quiet {
			e.halt()
		}
		t.end(ctx, e, quiet)
	}
}

// end ends a class session. Whether it is quiet, its students have paused.
func (t *teacher) end(ctx context.Context, e *taught, quiet bool) {
	if quiet {
		t.figures(ctx, e.class, true)
	}
	e.ending.Store(true)
	if !t.change(ctx, e, "end", ended) {
		return
	}
	e.over.Store(true)
	e.halt()
	t.g.registry.free(e.class)
	t.forget(e)
	t.over = append(t.over, e.class)
	if len(t.over) > overMax {
		t.over = t.over[1:]
	}
	t.figures(ctx, e.class, quiet)
	t.tryCode(ctx, e.class)
}

// forget ends the teacher's part in a class session.
func (t *teacher) forget(e *taught) {
	e.halt()
	if e.ear != nil {
		e.ear.close(true)
	}
	t.classes = slices.DeleteFunc(t.classes, func(other *taught) bool { return other == e })
	if !e.over.Load() {
		t.all = slices.DeleteFunc(t.all, func(c *class) bool { return c == e.class })
	}
}

// freedCode tries the code of a class session that has ended.
func (t *teacher) freedCode(ctx context.Context) {
	if n := len(t.over); n > 0 {
		t.tryCode(ctx, t.over[t.rng.IntN(n)])
	}
}

func (t *teacher) tryCode(ctx context.Context, c *class) {
	const op = "join by an old code"
	b := t.g.newBrowser()
	defer b.close()
	a := b.do(ctx, request{op: op, method: http.MethodPost, path: "/api/v1/join", body: map[string]string{"code": c.code, "name": "Late"}})
	if !t.g.decided(ctx, op, a) || a.status == http.StatusNotFound {
		return
	}
	var out struct {
		SessionID string `json:"sessionId"`
	}
	switch {
	case a.status != http.StatusCreated || a.decode(&out) != nil:
		t.g.unexpected(op, a)
	case out.SessionID == c.id:
		t.g.record.violate(RevivedCode, "%s: it led to the class session that has ended", op)
	case t.g.registry.byCode(c.code) == nil:
		t.g.record.violate(WrongClass, "%s: it led to another class session", op)
	}
}
