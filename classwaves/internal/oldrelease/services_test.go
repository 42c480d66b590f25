package oldrelease_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/internal/oldrelease"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// What rekey cannot mend, because the old release was wrong under one name too, the services do
// otherwise; and where it was wrong under two, they are right with it.

// mixedFleet is the fleet on which the old release is at its worst: one process writes both names, the
// next one the prefixed name alone.
func mixedFleet(t *testing.T) *phasefleet.Fleet {
	t.Helper()
	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 2)
	fleet.Walk(phase.Mirror, phase.Dual)
	fleet.Walk(phase.Relocate, phase.Hold)
	fleet.Move(1, phase.Mirror, phase.Drain)
	fleet.Move(1, phase.Relocate, phase.Move)
	return fleet
}

// A fill after an invalidation stores old data under the new version.
func TestFillAfterInvalidation(t *testing.T) {
	ctx := t.Context()
	old := oldrelease.New(redistest.Shared(t).Client(), environment, oldrelease.Old)
	truth := "before"
	changed := func() string { // the data changes while it is loaded
		was := truth
		truth = "after"
		must(t, old.Invalidate(ctx, "session:1"))
		return was
	}
	_, err := old.Cached(ctx, "session-detail", "1", "session:1", changed)
	must(t, err)
	if got, err := old.Cached(ctx, "session-detail", "1", "session:1", func() string { return truth }); err != nil || got != "before" {
		t.Errorf("the old release answers %q, %v; the fault is %q", got, err, "before")
	}

	fleet := mixedFleet(t)
	var caches []*querycache.Cache
	for _, m := range fleet.Members {
		c, err := querycache.New(querycache.Config{Redis: m.Client, Epochs: true, NoJitter: true})
		must(t, err)
		t.Cleanup(func() { must(t, c.Close()) })
		caches = append(caches, c)
	}
	entry := querycache.Entry{Type: querycache.SessionDetail, Key: "1", Tags: []string{"session:1"}}
	truth = "before"
	_, err = caches[0].Get(ctx, entry, func(ctx context.Context) ([]byte, error) {
		was := truth
		truth = "after"
		return []byte(was), caches[1].Invalidate(ctx, querycache.Scope{Type: entry.Type, Tags: entry.Tags})
	})
	must(t, err)
	for i, c := range caches {
		got, err := c.Get(ctx, entry, func(context.Context) ([]byte, error) { return []byte(truth), nil })
		if err != nil || string(got) != "after" {
			t.Errorf("process %d answers %q, %v, want after", i, got, err)
		}
	}
}

// The counters of tags never got a prefix, so environments that share a Redis invalidate each other's
// entries; as a rule of the plan they do not.
func TestTagsOfTwoEnvironments(t *testing.T) {
	ctx := t.Context()
	bare := redistest.Shared(t).Client()
	loads := 0
	load := func() string { loads++; return "value" }
	ours, theirs := oldrelease.New(bare, "ours", oldrelease.PrefixedOnly), oldrelease.New(bare, "theirs", oldrelease.PrefixedOnly)
	for range 2 {
		_, err := ours.Cached(ctx, "session-detail", "1", "teacher:ada", load)
		must(t, err)
		must(t, theirs.Invalidate(ctx, "teacher:ada"))
	}
	if loads != 2 {
		t.Errorf("%d loads, the fault is 2", loads)
	}

	server := redistest.Shared(t)
	loads = 0
	var both []*oldrelease.Process
	for _, env := range []string{"ours", "theirs"} {
		fleet := phasefleet.StartAt(t, server, env, 1, phase.Prefixed)
		both = append(both, oldrelease.New(fleet.Members[0].Client, env, oldrelease.Old))
	}
	for range 2 {
		_, err := both[0].Cached(ctx, "session-detail", "1", "teacher:ada", load)
		must(t, err)
		must(t, both[1].Invalidate(ctx, "teacher:ada"))
	}
	if loads != 1 {
		t.Errorf("over rekey: %d loads, want 1", loads)
	}
}

// browser keeps the cookie that the sessions' middleware gives it.
type browser struct{ cookie *http.Cookie }

// ask runs a handler behind the middleware, as a request of the browser.
func (b *browser) ask(s *session.Sessions, do func(r *http.Request) error) (err error) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	s.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { err = do(r) })).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name == session.CookieName {
			b.cookie = c
		}
	}
	return err
}

func (b *browser) login(t *testing.T, s *session.Sessions, teacher string) {
	t.Helper()
	must(t, b.ask(s, func(r *http.Request) error {
		_, err := s.Login(r, teacher)
		return err
	}))
}

func (b *browser) loggedIn(s *session.Sessions) bool {
	return b.ask(s, func(r *http.Request) error {
		_, err := s.Authenticate(r.Context())
		return err
	}) == nil
}

// sessionsOf are the processes of a fleet with their background work, over one database.
func sessionsOf(t *testing.T, fleet *phasefleet.Fleet) []*session.Sessions {
	t.Helper()
	key, err := session.ParseKey("k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	must(t, err)
	backing := session.NewMemory()
	var all []*session.Sessions
	for _, m := range fleet.Members {
		s, err := session.New(session.Config{Redis: m.Client, Backing: backing, Keys: []session.Key{key}, NoJitter: true})
		must(t, err)
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(context.WithoutCancel(t.Context())) }) // ends with Close, which says what is wrong
		t.Cleanup(func() {
			must(t, s.Close())
			running.Wait()
		})
		all = append(all, s)
	}
	return all
}

// Rotation stored the session twice encoded and so ended it.
func TestRotation(t *testing.T) {
	ctx := t.Context()
	old := oldrelease.New(redistest.Shared(t).Client(), environment, oldrelease.Old)
	must(t, old.Login(ctx, "ada", "former", 1))
	must(t, old.Rotate(ctx, "former", "present"))
	if ok, err := old.LoggedIn(ctx, "present"); err != nil || ok {
		t.Errorf("after the rotation the session is accepted: %v, %v; the fault is that it is not", ok, err)
	}

	all := sessionsOf(t, mixedFleet(t))
	var b browser
	b.login(t, all[0], "ada")
	former := *b.cookie
	b.login(t, all[1], "ada") // a login gives the browser's session a new id
	if b.cookie.Value == former.Value {
		t.Fatal("the id stayed")
	}
	for i, s := range all {
		if !b.loggedIn(s) {
			t.Errorf("process %d does not accept the new id", i)
		}
		if (&browser{&former}).loggedIn(s) {
			t.Errorf("process %d accepts the former id", i)
		}
	}
}

// 40 logins on the fleet on which the old release lets 22 sessions live; then everywhere is everywhere.
func TestSessionsOnAMixedFleet(t *testing.T) {
	all := sessionsOf(t, mixedFleet(t))
	browsers := make([]browser, 40)
	for i := range browsers {
		browsers[i].login(t, all[i%len(all)], "ada")
	}
	for i, s := range all {
		live := 0
		for b := range browsers {
			if browsers[b].loggedIn(s) {
				live++
			}
		}
		if live != 3 {
			t.Errorf("process %d accepts %d sessions, want 3", i, live)
		}
	}
	must(t, browsers[39].ask(all[0], func(r *http.Request) error {
		_, err := all[0].LogoutEverywhere(r.Context(), "ada")
		return err
	}))
	for i, s := range all {
		for b := range browsers {
			if browsers[b].loggedIn(s) {
				t.Errorf("process %d accepts session %d after a logout everywhere", i, b)
			}
		}
	}
}

// classroom is a database with a teacher and some class sessions that were started.
func classroom(t *testing.T, sessions int) (db *database.DB, ids []string) {
	t.Helper()
	ctx := t.Context()
	db, err := database.Open(ctx, "sqlite::memory:")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.CreateTeacher(ctx, database.Teacher{ID: "ada", Email: "ada@example.org", Name: "Ada", PasswordHash: "-", CreatedAt: time.Now()}))
	for i := range sessions {
		id := fmt.Sprint("class", i)
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: id, TeacherID: "ada", Title: "t", State: database.Created, CreatedAt: time.Now()}))
		if ok, err := db.SetState(ctx, id, database.Active, time.Now(), database.Created); err != nil || !ok {
			t.Fatalf("start a class: %v, %v", ok, err)
		}
		must(t, db.AddGroup(ctx, database.Group{ID: "group-" + id, SessionID: id, Name: "g"}))
		ids = append(ids, id)
	}
	return db, ids
}

// A code that was released leads nowhere, on every process, and a class's own code to it.
func TestCodesOnAMixedFleet(t *testing.T) {
	ctx := t.Context()
	db, classes := classroom(t, 6)
	var all []*accesscode.Codes
	for _, m := range mixedFleet(t).Members {
		c, err := accesscode.New(accesscode.Config{Redis: m.Client, Directory: db, NoJitter: true})
		must(t, err)
		all = append(all, c)
	}
	for i, class := range classes {
		code, err := all[i%2].Create(ctx, class)
		must(t, err)
		for p, c := range all {
			if got, found, err := c.Resolve(ctx, code); err != nil || !found || got != class {
				t.Errorf("process %d: the code leads to %q, %v, %v, want %q", p, got, found, err, class)
			}
		}
		must(t, all[(i/2)%2].Release(ctx, class))
		for p, c := range all {
			if got, found, err := c.Resolve(ctx, code); err != nil || found {
				t.Errorf("process %d: a released code leads to %q, %v", p, got, err)
			}
		}
	}
}

// The sync misses no class, and fallbacks end.
func TestAnalyticsOnAMixedFleet(t *testing.T) {
	ctx := t.Context()
	db, classes := classroom(t, 5)
	fleet := mixedFleet(t)
	fallbacks := func() (n uint64) {
		for _, m := range fleet.Members {
			s := m.Rekey.Stats().Rules
			n += s["session_analytics"].Fallbacks + s["group_analytics"].Fallbacks
		}
		return n
	}
	var all []*analytics.Analytics
	for _, m := range fleet.Members {
		a, err := analytics.New(analytics.Config{Redis: m.Client, Source: db, NoJitter: true})
		must(t, err)
		all = append(all, a)
	}
	for i, class := range classes {
		for n := range 4 {
			_, err := all[(i+n)%2].Apply(ctx, class, analytics.Event{Kind: analytics.ParticipantJoined, GroupID: "group-" + class})
			must(t, err)
		}
	}
	before := fallbacks()
	for range 10 {
		for i, class := range classes {
			m, found, err := all[i%2].Session(ctx, class)
			if err != nil || !found || m.Participants != 4 {
				t.Errorf("%s has %d participants, %v, %v, want 4", class, m.Participants, found, err)
			}
		}
	}
	if after := fallbacks(); after != before {
		t.Errorf("%d fallbacks in reads of what was written since", after-before)
	}
	report, err := all[1].Sync(ctx)
	if err != nil || report.Live != len(classes) || report.Written+report.Unchanged != len(classes) || len(report.Missed) > 0 {
		t.Errorf("the sync says %+v, %v; want all of %d classes", report, err, len(classes))
	}
	stored, err := db.LoadAnalytics(ctx, classes...)
	if err != nil || len(stored) != len(classes) {
		t.Errorf("the database has %d records, %v, want %d", len(stored), err, len(classes))
	}
}

// One budget, however often the flag is flipped and on whichever process a hit arrives.
func TestLimiterOnAFleetThatFlips(t *testing.T) {
	ctx := t.Context()
	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 2, "rate_limits")
	var all []*ratelimit.Limiter
	for _, m := range fleet.Members {
		l, err := ratelimit.New(ratelimit.Config{Redis: m.Client})
		must(t, err)
		t.Cleanup(func() { must(t, l.Close()) })
		all = append(all, l)
	}
	passed, hits := 0, 0
	inEveryPhase(fleet, phase.Relocate, func() {
		for _, l := range all {
			d, err := l.Take(ctx, ratelimit.Auth, "192.0.2.1")
			must(t, err)
			if d.Insured {
				t.Fatalf("%v: the insurance answered", fleet.Phase(phase.Relocate))
			}
			if hits++; d.Allowed {
				passed++
			}
		}
	})
	if passed != ratelimit.Auth.Points || hits <= passed {
		t.Errorf("%d of %d hits pass, want %d", passed, hits, ratelimit.Auth.Points)
	}
	key := name(t)(keys.RateLimit(ratelimit.Auth.Name, "192.0.2.1"))
	if left := fleet.Members[0].Client.PTTL(ctx, key).Val(); left <= ratelimit.Auth.Block-time.Minute {
		t.Errorf("the block lasts %v more, want about %v", left, ratelimit.Auth.Block)
	}
}
