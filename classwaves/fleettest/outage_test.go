//go:build postgres

package fleettest

import (
	"net/http"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
)

// The accounts of the visitors; those of the load come before them.
const (
	loadTeachers   = 3
	ownTeacher     = loadTeachers + 1
	crowdedTeacher = loadTeachers + 2
	accounts       = loadTeachers + 2
)

// TestOutages kills Redis, and then PostgreSQL too, under load in the middle of a migration, and brings
// them back. The servers run all of the time.
//
// A kill takes the process and not the page cache, so Redis need not synchronise its file to have
// everything again that it has acknowledged: "no" writes it before the reply, as "always" does.
func TestOutages(t *testing.T) {
	f := newFleet(t, "appendonly yes", "appendfsync no", "save ''")
	addTeachers(t, f.database, accounts)
	middle := stage{phase.Dual, phase.Move}
	f.serve(middle, middle, middle, middle)
	g, end := f.play(load.Config{Teachers: loadTeachers, Students: 3, Pause: 100 * time.Millisecond, Faults: true, Probes: probe(time.Minute)})
	f.stay(g, time.Now().Add(3*time.Second))

	v, code := f.visitors()
	f.redis.Kill()
	f.withoutRedis(v, code)
	f.stay(g, time.Now().Add(3*time.Second))
	f.redis.Restart()
	f.back(v)
	f.stay(g, time.Now().Add(3*time.Second))

	f.postgres.Kill(t)
	f.withoutDatabase(v)
	f.redis.Kill()
	f.withoutBoth(v, code)
	f.postgres.Restart(t)
	v.owner.until("the database is back: class sessions", http.StatusOK, []int{http.StatusServiceUnavailable}, v.owner.list)
	f.redis.Restart()
	f.back(v)
	f.stay(g, time.Now().Add(3*time.Second))

	r := end()
	show(t, &r)
	if n := r.Violated(); n != 0 {
		t.Errorf("%d violations under faults, want none", n)
	}
	if r.Unavailable == 0 {
		t.Error("no answer was 503: the load has not seen the outages")
	}
	// All have returned: a load that allows nothing finds nothing.
	g, end = f.play(load.Config{Teachers: loadTeachers, Students: 3, Pause: 100 * time.Millisecond})
	f.stay(g, time.Now().Add(5*time.Second))
	r = end()
	show(t, &r)
	if n := r.Violated(); n != 0 {
		t.Errorf("%d violations after the outages, want none", n)
	}
}

// visitors are browsers in known states.
type visitors struct {
	owner     *visitor // logged in all of the time
	first     *visitor // the oldest of three logins of another teacher, which a fourth displaces
	replaced  string   // the cookie of a login that another one replaces in its browser
	replacing *visitor
	leaving   *visitor // logs out
	stranger  *visitor // with a cookie that nobody gave
	ended     []*visitor
}

func (f *fleet) visitors() (v *visitors, code string) {
	f.t.Helper()
	v = &visitors{owner: f.visit("127.200.1.1"), first: f.visit("127.200.2.1"), replacing: f.visit("127.200.3.1"), leaving: f.visit("127.200.13.1"), stranger: f.visit("127.200.4.1")}
	for _, who := range []struct {
		v       *visitor
		teacher int
	}{{v.owner, ownTeacher}, {v.leaving, ownTeacher}, {v.first, crowdedTeacher}, {v.replacing, crowdedTeacher}, {f.visit("127.200.5.1"), crowdedTeacher}} {
		if r := who.v.login(who.teacher); r.status != http.StatusOK || who.v.token == "" {
			f.t.Fatalf("log in: %v with the token %q", r, who.v.token)
		}
	}
	v.replaced = v.replacing.cookie
	v.stranger.cookie = v.owner.cookie[1:] + "A"
	r := v.owner.create()
	if r.status != http.StatusCreated {
		f.t.Fatalf("create a class session: %v", r)
	}
	v.owner.everyServer("list before", http.StatusOK, v.owner.list)
	v.first.everyServer("list before", http.StatusOK, v.first.list)
	return v, r.field(f.t, "accessCode")
}

// withoutRedis is the time in which the database answers alone.
func (f *fleet) withoutRedis(v *visitors, code string) {
	t := f.t
	t.Helper()
	v.owner.everyServer("without Redis: a login is known by the database, and the query cache's loader answers", http.StatusOK, v.owner.list)
	v.owner.everyServer("without Redis: an unsafe request", http.StatusServiceUnavailable, v.owner.create)
	v.stranger.everyServer("without Redis: a cookie that nobody gave", http.StatusUnauthorized, v.stranger.list)
	if r := v.stranger.loginWith(ownTeacher, "wrong "+password); r.status != http.StatusUnauthorized {
		t.Errorf("without Redis: a wrong password: got %v, want 401", r)
	}
	v.stranger.everyServer("without Redis: readiness, degraded", http.StatusOK, func() reply { return v.stranger.do(http.MethodGet, "/readyz", nil) })

	// Two logins are displaced: one is the oldest of four, one is replaced in its browser.
	if r := f.visit("127.200.6.1").login(crowdedTeacher); r.status != http.StatusOK {
		t.Errorf("without Redis: log in: got %v, want 200", r)
	}
	if r := v.replacing.login(crowdedTeacher); r.status != http.StatusOK {
		t.Errorf("without Redis: log in again: got %v, want 200", r)
	}
	old := f.visit("127.200.3.1")
	old.cookie = v.replaced
	v.ended = []*visitor{v.first, old}
	// So does one that is logged out: that works without Redis.
	if r := v.leaving.do(http.MethodPost, "/api/v1/logout", nil); r.status != http.StatusNoContent {
		t.Errorf("without Redis: log out: got %v, want 204", r)
	}
	v.ended = append(v.ended, v.leaving)
	for _, e := range v.ended {
		e.everyServer("without Redis: a login that was ended meanwhile", http.StatusUnauthorized, e.list)
	}

	// The budget of an address is that of each server now: not less, so that nobody is refused because
	// of the outage, and not endless.
	student := f.visit("127.200.7.1")
	if r := student.join(code); r.status != http.StatusCreated {
		t.Errorf("without Redis: join: got %v, want 201", r)
	}
	knock := f.visit("127.200.8.1")
	passed := 0
	for range 2 * size * 20 {
		r := knock.join("000000")
		if r.status == http.StatusTooManyRequests {
			break
		}
		if r.status != http.StatusNotFound {
			t.Errorf("without Redis: join by a wrong code: got %v, want 404", r)
			break
		}
		passed++
	}
	if passed < 20 || passed >= 2*size*20 {
		t.Errorf("without Redis: %d tries passed a limit of 20 on each of %d servers", passed, size)
	}
}

// back is when Redis answers again: everything returns, and what was ended meanwhile stays so from the
// first request on.
func (f *fleet) back(v *visitors) {
	f.t.Helper()
	for _, e := range v.ended {
		e.everyServer("Redis is back: a login that was ended meanwhile", http.StatusUnauthorized, e.list)
	}
	v.owner.until("Redis is back: an unsafe request", http.StatusCreated, []int{http.StatusServiceUnavailable}, v.owner.create)
	v.owner.everyServer("Redis is back: class sessions", http.StatusOK, v.owner.list)
	v.replacing.everyServer("Redis is back: a login of the outage", http.StatusOK, v.replacing.list)
	for _, e := range v.ended {
		e.everyServer("all are back: a login that was ended meanwhile", http.StatusUnauthorized, e.list)
	}
	v.stranger.everyServer("all are back: a cookie that nobody gave", http.StatusUnauthorized, v.stranger.list)
}

// withoutDatabase is the time in which Redis knows the logins, and nobody can log in.
func (f *fleet) withoutDatabase(v *visitors) {
	f.t.Helper()
	me := func() reply { return v.owner.do(http.MethodGet, "/api/v1/me", nil) }
	v.owner.everyServer("without the database: who am I", http.StatusServiceUnavailable, me)
	if r := f.visit("127.200.9.1").login(ownTeacher); r.status != http.StatusServiceUnavailable {
		f.t.Errorf("without the database: log in: got %v, want 503", r)
	}
	v.stranger.everyServer("without the database: a cookie that nobody gave", http.StatusUnauthorized, v.stranger.list)
}

// withoutBoth is the time in which nothing can be decided: nobody is let in, and nobody is told that he
// is not logged in.
func (f *fleet) withoutBoth(v *visitors, code string) {
	f.t.Helper()
	for what, ask := range map[string]func() reply{
		"a login":                           v.owner.list,
		"an unsafe request":                 v.owner.create,
		"a login that was ended":            v.ended[0].list,
		"a cookie that nobody gave":         v.stranger.list,
		"a right password":                  func() reply { return f.visit("127.200.10.1").login(ownTeacher) },
		"a wrong password":                  func() reply { return f.visit("127.200.11.1").loginWith(ownTeacher, "wrong "+password) },
		"an access code":                    func() reply { return f.visit("127.200.12.1").join(code) },
		"readiness":                         func() reply { return v.stranger.do(http.MethodGet, "/readyz", nil) },
		"a WebSocket, asked for as a plain": func() reply { return v.owner.do(http.MethodGet, "/api/v1/live/x", nil) },
	} {
		v.owner.everyServer("without both: "+what, http.StatusServiceUnavailable, ask)
	}
	v.owner.everyServer("without both: the process lives", http.StatusOK, func() reply { return v.owner.do(http.MethodGet, "/healthz", nil) })
}
