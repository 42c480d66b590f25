package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/internal/redistest"
)

// oneClass is a class session that goes on, and the codes of its database.
func oneClass(t *testing.T) (*database.DB, *accesscode.Codes) {
	t.Helper()
	ctx := t.Context()
	db := databasetest.Open(t, databasetest.SQLite(t))
	if err := db.CreateTeacher(ctx, database.Teacher{ID: "ada", Email: "ada@example.org", PasswordHash: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateClassSession(ctx, database.ClassSession{ID: "one", TeacherID: "ada", Title: "One"}, database.Group{ID: "red", Name: "Red"}); err != nil {
		t.Fatal(err)
	}
	codes, err := accesscode.New(accesscode.Config{Redis: redistest.Shared(t).Client(), Directory: db})
	if err != nil {
		t.Fatal(err)
	}
	return db, codes
}

// TestDetailBesideTheEnd shows a class session whose cached entry is from before its end: it has no code
// any more, and that is what the teacher is told.
func TestDetailBesideTheEnd(t *testing.T) {
	ctx := t.Context()
	db, codes := oneClass(t)
	a := &API{log: slog.New(slog.DiscardHandler), c: Config{Database: db, Codes: codes}}
	cached, err := a.stored(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := a.withCode(ctx, cached); err != nil || len(body.AccessCode) != 6 || body.State != database.Created {
		t.Errorf("while it goes on: got %+v, %v", body, err)
	}
	if err := codes.Release(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.SetState(ctx, "one", database.Ended, time.Now(), database.Created); err != nil {
		t.Fatal(err)
	}
	if body, err := a.withCode(ctx, cached); err != nil || body.AccessCode != "" || body.State != database.Ended || len(body.Groups) != 1 {
		t.Errorf("after its end: got %+v, %v", body, err)
	}
}

// TestJoinBesideTheEnd ends a class session after a student's request has found it going on, and before
// the student is in it: there is no such thing any more, and nothing went wrong.
func TestJoinBesideTheEnd(t *testing.T) {
	ctx := t.Context()
	db, codes := oneClass(t)
	code, err := codes.Create(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	a := &API{log: slog.New(slog.DiscardHandler), c: Config{Database: db, Codes: codes, Now: func() time.Time {
		// The handler asks for the time between its look and its step.
		if _, err := db.SetState(ctx, "one", database.Ended, time.Now(), database.Created); err != nil {
			t.Error(err)
		}
		return time.Now()
	}}}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/join", strings.NewReader(`{"code":"`+code+`","name":"Eve"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.handle(a.join).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("got %d %s, want 404", w.Code, w.Body)
	}
}
