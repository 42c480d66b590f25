//go:build postgres

package database_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// The server is killed and comes back: no answer in between, and then all of them, from the same DB.
func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	server := databasetest.StartPostgres(t)
	db := databasetest.Open(t, server.URL(t))
	withClass(t, db)
	for round := range 2 {
		var all sync.WaitGroup // several connections, so that several are lost
		for range 8 {
			all.Go(func() { wantAll(t, t.Context(), db, false) })
		}
		all.Wait()
		server.Kill(t)
		wantAll(t, t.Context(), db, true)
		wantAll(t, t.Context(), db, true)
		server.Restart(t)
		wantAll(t, t.Context(), db, false)
		if _, found, err := db.ClassSession(t.Context(), "maths"); err != nil || !found {
			t.Errorf("round %d: what was committed before: %v, %v", round, found, err)
		}
	}
}

// The connection is lost in the middle of a transaction: nothing of it is done, and it is not done
// a second time.
func TestALostConnectionIsNotTriedAgain(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	counters(t, db, "n")
	runs := 0
	err := db.Write(t.Context(), func(tx *database.Tx) error {
		runs++
		if _, err := tx.Exec(t.Context(), "UPDATE counters SET value = 7"); err != nil {
			return err
		}
		pid, err := tx.Strings(t.Context(), "SELECT pg_backend_pid()::text")
		if err != nil {
			return err
		}
		if _, err := db.Exec(t.Context(), "SELECT pg_terminate_backend(CAST($1 AS TEXT)::int, 5000)", pid[0]); err != nil {
			return fmt.Errorf("end the connection: %w", err)
		}
		return nil // and COMMIT finds nobody
	})
	if !unavailable.Is(err) || runs != 1 {
		t.Errorf("got %v after %d runs", err, runs)
	}
	if got := counter(t, db.Strings, "n"); got != 0 {
		t.Errorf("the number is %d, want 0", got)
	}
}

// The naive forms of what tx_test.go demands, where the database lets them go wrong. SQLite has one
// writer and does not.
func TestNaiveTransactionsLoseUpdates(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	counters(t, db, "n")
	var read sync.WaitGroup
	read.Add(2)
	race(t, 2, func() (bool, error) {
		return true, db.Naive(t.Context(), func(tx *database.Tx) error {
			n := counter(t, tx.Strings, "n")
			read.Done()
			read.Wait()
			_, err := tx.Exec(t.Context(), "UPDATE counters SET value = $2 WHERE name = $1", "n", n+1)
			return err
		})
	})
	if got := counter(t, db.Strings, "n"); got != 1 {
		t.Errorf("got %d, want 1: TestInTurnLosesNothing would not notice", got)
	}
}

func TestNaiveTransactionsAreNotSerializable(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	if sum, err := skew(t, db, db.Naive); err != nil || sum != 2 {
		t.Errorf("got %d, %v, want 2: TestWriteIsSerializable would not notice", sum, err)
	}
}

// A lock within a serializable transaction waits and then works with what it saw before it waited. This
// is why inTurn is not serializable.
func TestALockInASerializableTransactionIsNoTurn(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	counters(t, db, "n")
	ctx := t.Context()
	locked, release := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		err := db.InTurn(ctx, "counter n", func(tx *database.Tx) error {
			close(locked)
			<-release
			return increment(tx, ctx)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-locked
	runs := 0
	err := db.Write(ctx, func(tx *database.Tx) error {
		if runs++; runs == 1 {
			if _, err := tx.Strings(ctx, "SELECT 'a snapshot' FROM counters"); err != nil {
				return err
			}
			close(release)
			first.Wait()
		}
		return increment(tx, ctx)
	})
	must(t, err)
	if got := counter(t, db.Strings, "n"); got != 2 || runs < 2 {
		t.Errorf("got %d after %d runs, want 2 after the first was refused", got, runs)
	}
}

// What the server says at the door, and no password in it.
func TestPostgresRefuses(t *testing.T) {
	good := databasetest.Postgres(t)
	for _, c := range []struct {
		what   string
		change func(*url.URL)
		want   string
	}{
		{"a wrong password", func(u *url.URL) { u.User = url.UserPassword("classwaves", "s3kr1t") }, "check user and password"},
		{"an unknown user", func(u *url.URL) { u.User = url.UserPassword("mallory", "s3kr1t") }, "check user and password"},
		{"no such database", func(u *url.URL) { u.Path = "/nowhere" }, "createdb"},
	} {
		u, err := url.Parse(good)
		must(t, err)
		c.change(u)
		db, err := database.Open(t.Context(), u.String())
		if err == nil {
			t.Errorf("%s: opened, %v", c.what, db.Close())
			continue
		}
		password, _ := u.User.Password()
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), password) || !unavailable.Is(err) {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

// What needs more rights than an owner has must fail here and not in production.
func TestPostgresOwnerIsNoSuperuser(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	super, err := db.Strings(t.Context(), "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user")
	if err != nil || len(super) != 1 || super[0] != "false" {
		t.Errorf("the tests run as superuser: %v, %v", super, err)
	}
}

func TestPostgresPagesReadTheIndex(t *testing.T) {
	db := databasetest.Open(t, databasetest.Postgres(t))
	withClass(t, db)
	ctx := t.Context()
	_, err := db.Exec(ctx, `INSERT INTO class_sessions (id, teacher_id, title, state, created_at) SELECT 'c' || i, 'ada', 'x', 'created', i FROM generate_series(1, 20000) i`)
	must(t, err)
	_, err = db.Exec(ctx, "ANALYZE class_sessions")
	must(t, err)
	plan, err := db.Strings(ctx, "EXPLAIN SELECT id FROM class_sessions WHERE teacher_id = 'ada' AND (created_at, id) < (10000, 'c10000') ORDER BY created_at DESC, id DESC LIMIT 50")
	must(t, err)
	text := strings.Join(plan, "\n")
	if !strings.Contains(text, "class_sessions_teacher") || !strings.Contains(text, "ROW(created_at, id) <") || strings.Contains(text, "Sort") || strings.Contains(text, "Filter") {
		t.Errorf("a page is not a walk along the index:\n%s", text)
	}
}
