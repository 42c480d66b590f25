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

// TestJoinBesideTheEnd ends a class session after a student's request has found it going on, and before
// the student is in it: there is no such thing any more, and nothing went wrong.
func TestJoinBesideTheEnd(t *testing.T) {
	ctx := t.Context()
	db := databasetest.Open(t, databasetest.SQLite(t))
	if err := db.CreateTeacher(ctx, database.Teacher{ID: "ada", Email: "ada@example.org", PasswordHash: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateClassSession(ctx, database.ClassSession{ID: "one", TeacherID: "ada", Title: "One"}); err != nil {
		t.Fatal(err)
	}
	if err := db.AddGroup(ctx, database.Group{ID: "red", SessionID: "one", Name: "Red"}); err != nil {
		t.Fatal(err)
	}
	codes, err := accesscode.New(accesscode.Config{Redis: redistest.Shared(t).Client(), Directory: db})
	if err != nil {
		t.Fatal(err)
	}
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
