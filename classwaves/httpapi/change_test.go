package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/live"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

// classroom is the part of the API that changes a class session, with one that goes on, and a process beside
// it that counts what happens there.
type classroom struct {
	*API
	beside *analytics.Analytics
	// when is called between the request's first look and its change, whenScan by the first invalidation.
	when, whenScan atomic.Pointer[func()]
}

const (
	classID = "CLASS"
	groupID = "GROUP"
)

func newClassroom(t *testing.T) *classroom {
	t.Helper()
	server, db, c := redistest.Shared(t), databasetest.Open(t, databasetest.SQLite(t)), new(classroom)
	rdb, watched := server.Client(), server.Client()
	watched.AddHook(scanHook{c})
	var made [5]error
	c.API = &API{log: slog.New(slog.DiscardHandler), c: Config{Database: db, Limits: Limits{}.withDefaults(), Now: func() time.Time {
		call(&c.when)
		return time.Now()
	}}}
	c.c.Codes, made[0] = accesscode.New(accesscode.Config{Redis: rdb, Directory: db})
	c.c.Queries, made[1] = querycache.New(querycache.Config{Redis: watched})
	c.c.Live, made[2] = live.New(live.Config{Redis: rdb, Environment: "test"})
	c.c.Analytics, made[3] = analytics.New(analytics.Config{Redis: rdb, Source: db})
	c.beside, made[4] = analytics.New(analytics.Config{Redis: rdb, Source: db})
	if err := errors.Join(made[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.c.Queries.Close(), c.c.Live.Close() }) // nothing is under way
	ctx, now := t.Context(), time.Now()
	if err := errors.Join(
		db.CreateTeacher(ctx, database.Teacher{ID: "ada", Email: "ada@example.org", Name: "Ada", PasswordHash: "x", CreatedAt: now}),
		db.CreateClassSession(ctx, database.ClassSession{ID: classID, TeacherID: "ada", Title: "History", State: database.Active, CreatedAt: now},
			database.Group{ID: groupID, SessionID: classID, Name: "All"}),
		c.joins(t),
	); err != nil {
		t.Fatal(err)
	}
	return c
}

// joins has somebody join, in the process beside this one.
func (c *classroom) joins(t *testing.T) error {
	_, err := c.beside.Apply(t.Context(), classID, analytics.Event{Kind: analytics.ParticipantJoined, GroupID: groupID})
	return err
}

// end sends the request.
func (c *classroom) end(ctx context.Context) error {
	r := httptest.NewRequestWithContext(context.WithValue(ctx, loginKey{}, session.Session{TeacherID: "ada"}), "POST", "/", http.NoBody)
	r.SetPathValue("session", classID)
	return c.endSession(httptest.NewRecorder(), r)
}

// wantEnded wants everybody to know.
func (c *classroom) wantEnded(t *testing.T) {
	t.Helper()
	if err := c.joins(t); err != analytics.ErrEnded {
		t.Errorf("the process beside counts on: error %v", err)
	}
	if _, cached, err := c.c.Queries.Lookup(t.Context(), detailEntry(classID)); cached || err != nil {
		t.Errorf("what the cache had before is there still: %v, %v", cached, err)
	}
}

// scanHook sees the query cache's invalidations, which scan where epochs are off.
type scanHook struct{ *classroom }

func (scanHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h scanHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "scan" {
			call(&h.whenScan)
		}
		return next(ctx, cmd)
	}
}
func (scanHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func call(f *atomic.Pointer[func()]) {
	if f := f.Load(); f != nil {
		(*f)()
	}
}

// TestTheClientHangsUpWhenTheEndIsStored: everybody is told all the same, in this request.
func TestTheClientHangsUpWhenTheEndIsStored(t *testing.T) {
	c := newClassroom(t)
	ctx, hangUp := context.WithCancel(t.Context())
	f := func() { hangUp() }
	c.whenScan.Store(&f)
	if err := c.end(ctx); err != nil {
		t.Errorf("the end: %v", err)
	}
	if ctx.Err() == nil {
		t.Fatal("nobody hung up: the test shows nothing")
	}
	c.wantEnded(t)
}

// TestAnEndThatWasStoredAndNotTold: the request that stored it failed there. Who asks again hears that there
// is nothing to end, and everybody else that it has ended.
func TestAnEndThatWasStoredAndNotTold(t *testing.T) {
	c := newClassroom(t)
	if _, err := c.c.Database.SetState(t.Context(), classID, database.Ended, time.Now(), database.Active); err != nil {
		t.Fatal(err)
	}
	if err := c.joins(t); err != nil {
		t.Fatalf("the process beside knows already, so the test shows nothing: %v", err)
	}
	if err := c.end(t.Context()); err != errConflict {
		t.Errorf("got %v, want %v", err, errConflict)
	}
	c.wantEnded(t)
}

// TestTheDatabaseFailsAtACreation: whether it stored the class session is not known, so the cache keeps no
// list from before.
func TestTheDatabaseFailsAtACreation(t *testing.T) {
	c := newClassroom(t)
	list := listEntry("ada", "")
	if err := c.c.Queries.Upsert(t.Context(), list, []byte(`{"sessions":[]}`)); err != nil {
		t.Fatal(err)
	}
	f := func() {
		if _, cached, err := c.c.Queries.Lookup(t.Context(), list); !cached || err != nil {
			t.Fatalf("nothing is cached, so the test shows nothing: %v", err)
		}
		_ = c.c.Database.Close()
	}
	c.when.Store(&f)
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), loginKey{}, session.Session{TeacherID: "ada"}),
		"POST", "/", strings.NewReader(`{"title":"History"}`))
	r.Header.Set("Content-Type", "application/json")
	if err := c.createSession(httptest.NewRecorder(), r); err == nil {
		t.Error("a class session without a database")
	}
	if _, cached, err := c.c.Queries.Lookup(t.Context(), list); cached || err != nil {
		t.Errorf("the list that the cache had before is there still: %v, %v", cached, err)
	}
}

// TestTheDatabaseFailsAtAChange: whether it stored the change is not known, so the cache keeps nothing of
// before.
func TestTheDatabaseFailsAtAChange(t *testing.T) {
	c := newClassroom(t)
	f := func() {
		if _, cached, err := c.c.Queries.Lookup(t.Context(), detailEntry(classID)); !cached || err != nil {
			t.Fatalf("nothing is cached, so the test shows nothing: %v", err)
		}
		_ = c.c.Database.Close()
	}
	c.when.Store(&f)
	if err := c.end(t.Context()); err == nil {
		t.Error("a change without a database")
	}
	if _, cached, err := c.c.Queries.Lookup(t.Context(), detailEntry(classID)); cached || err != nil {
		t.Errorf("what the cache had before is there still: %v, %v", cached, err)
	}
}
