package database_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// calls is every kind of question that the database gets.
func calls(db *database.DB) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Ping":          db.Ping,
		"Teacher":       func(ctx context.Context) error { _, _, err := db.Teacher(ctx, "bob"); return err },
		"ClassSessions": func(ctx context.Context) error { _, err := db.ClassSessions(ctx, "ada", 5, ""); return err },
		"SetState": func(ctx context.Context) error {
			_, err := db.SetState(ctx, "art", database.Active, noon, database.Created)
			return err
		},
		"SetCode":       func(ctx context.Context) error { _, err := db.SetCode(ctx, "maths", "AAAAAA"); return err },
		"SessionOfCode": func(ctx context.Context) error { _, _, err := db.SessionOfCode(ctx, "BBBBBB"); return err },
		"write":         func(ctx context.Context) error { return db.Write(ctx, func(*database.Tx) error { return nil }) },
		"inTurn":        func(ctx context.Context) error { return db.InTurn(ctx, "x", func(*database.Tx) error { return nil }) },
		"CreateClassSession": func(ctx context.Context) error {
			err := db.CreateClassSession(ctx, database.ClassSession{ID: "maths", TeacherID: "ada", Title: "Again"})
			if errors.Is(err, database.ErrConflict) {
				return nil // an answer
			}
			return err
		},
	}
}

// wantAll holds every call to an answer, or to none.
func wantAll(t *testing.T, ctx context.Context, db *database.DB, out bool) {
	t.Helper()
	for name, call := range calls(db) {
		err := call(ctx)
		if out != unavailable.Is(err) || !out && err != nil {
			t.Errorf("%s: got %v, want unavailable: %v", name, err, out)
		}
	}
}

func TestEndOfTheContextIsUnavailable(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		wantAll(t, canceled, db, true)
		for name, call := range calls(db) {
			if err := call(canceled); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		wantAll(t, t.Context(), db, false)
	})
}

func TestClosedIsUnavailable(t *testing.T) {
	databasetest.EachURL(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), url)
		must(t, err)
		must(t, db.Close())
		wantAll(t, t.Context(), db, true)
	})
}

// Another process holds the file: who writes waits for it, not longer than Timeout, and who reads does
// not wait at all.
func TestALockedFile(t *testing.T) {
	url := databasetest.SQLite(t)
	other := databasetest.Open(t, url)
	withClass(t, other)
	db, err := database.Config{URL: url, Timeout: time.Second}.Open(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })

	held, release, released := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		released <- other.Write(t.Context(), func(tx *database.Tx) error {
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	if _, err := db.SetState(t.Context(), "maths", database.Active, noon, database.Created); !unavailable.Is(err) {
		t.Errorf("SetState: got %v", err)
	}
	if c, found, err := db.ClassSession(t.Context(), "maths"); err != nil || !found || c.State != database.Created {
		t.Errorf("ClassSession: got %+v, %v, %v", c, found, err)
	}
	close(release)
	must(t, <-released)
	if ok, err := db.SetState(t.Context(), "maths", database.Active, noon, database.Created); err != nil || !ok {
		t.Errorf("SetState when it is free: got %v, %v", ok, err)
	}
}

// All pages of the file but the first are overwritten.
func TestADamagedFile(t *testing.T) {
	url := databasetest.SQLite(t)
	db, err := database.Open(t.Context(), url)
	must(t, err)
	withClass(t, db)
	must(t, db.Close()) // and all of it is in the file
	path := strings.TrimPrefix(url, "sqlite:")
	content, err := os.ReadFile(path)
	must(t, err)
	for i := 4096; i < len(content); i++ {
		content[i] = 0xff
	}
	must(t, os.WriteFile(path, content, 0o600))
	if _, err := database.Open(t.Context(), url); !unavailable.Is(err) || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("got %v", err)
	}
}

// Errors of constraints reach clients and logs; they tell no values.
func TestErrorsTellNoValues(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		err := db.CreateTeacher(t.Context(), database.Teacher{ID: "secret-id", Email: "ada@example.org", Name: "N", PasswordHash: "secret-hash"})
		if !errors.Is(err, database.ErrConflict) {
			t.Fatal(err)
		}
		for _, secret := range []string{"ada@", "secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells %s: %v", secret, err)
			}
		}
	})
}
