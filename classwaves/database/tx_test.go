package database_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

type transact = func(context.Context, func(*database.Tx) error) error

// counters makes a table of named numbers.
func counters(t *testing.T, db *database.DB, names ...string) {
	t.Helper()
	_, err := db.Exec(t.Context(), "CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)")
	must(t, err)
	for _, name := range names {
		_, err := db.Exec(t.Context(), "INSERT INTO counters (name, value) VALUES ($1, 0)", name)
		must(t, err)
	}
}

func counter(t *testing.T, read func(context.Context, string, ...any) ([]string, error), name string) int {
	t.Helper()
	values, err := read(t.Context(), "SELECT CAST(value AS TEXT) FROM counters WHERE name = $1", name)
	must(t, err)
	n, err := strconv.Atoi(values[0])
	must(t, err)
	return n
}

// increment reads a number and writes the next one, the way that loses updates.
func increment(tx *database.Tx, ctx context.Context) error {
	values, err := tx.Strings(ctx, "SELECT CAST(value AS TEXT) FROM counters WHERE name = $1", "n")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(values[0])
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE counters SET value = $2 WHERE name = $1", "n", n+1)
	return err
}

func TestInTurnLosesNothing(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		counters(t, db, "n")
		const writers, each = 50, 4
		race(t, writers, func() (bool, error) {
			for range each {
				err := db.InTurn(t.Context(), "counter n", func(tx *database.Tx) error { return increment(tx, t.Context()) })
				if err != nil {
					return false, err
				}
			}
			return true, nil
		})
		if got := counter(t, db.Strings, "n"); got != writers*each {
			t.Errorf("got %d, want %d", got, writers*each)
		}
	})
}

func TestWriteLosesNothing(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		counters(t, db, "n")
		const writers, each = 4, 10
		race(t, writers, func() (bool, error) {
			for range each {
				if err := db.Write(t.Context(), func(tx *database.Tx) error { return increment(tx, t.Context()) }); err != nil {
					return false, err
				}
			}
			return true, nil
		})
		if got := counter(t, db.Strings, "n"); got != writers*each {
			t.Errorf("got %d, want %d", got, writers*each)
		}
	})
}

// skew is the history that snapshots allow and no order of the two does: each transaction sees that
// the other number is 0 and sets its own to 1. At most one may.
func skew(t *testing.T, db *database.DB, run transact) (sum int, err error) {
	t.Helper()
	counters(t, db, "a", "b")
	ctx := t.Context()
	var both, done sync.WaitGroup
	both.Add(2)
	errs := make(chan error, 2)
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		first := true
		done.Go(func() {
			errs <- run(ctx, func(tx *database.Tx) error {
				values, err := tx.Strings(ctx, "SELECT CAST(value AS TEXT) FROM counters WHERE name = $1", names[1])
				if first && !db.SQLite() { // where there is one writer, they cannot both be here
					first = false
					both.Done()
					both.Wait()
				}
				if err != nil || values[0] != "0" {
					return err
				}
				_, err = tx.Exec(ctx, "UPDATE counters SET value = 1 WHERE name = $1", names[0])
				return err
			})
		})
	}
	done.Wait()
	return counter(t, db.Strings, "a") + counter(t, db.Strings, "b"), errors.Join(<-errs, <-errs)
}

func TestWriteIsSerializable(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		if sum, err := skew(t, db, db.Write); err != nil || sum != 1 {
			t.Errorf("got %d, %v, want 1", sum, err)
		}
	})
}

func TestAnErrorOfTheTransactionEndsIt(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		counters(t, db, "n")
		mine := errors.New("mine")
		for name, run := range map[string]transact{
			"write":  db.Write,
			"inTurn": func(ctx context.Context, do func(*database.Tx) error) error { return db.InTurn(ctx, "x", do) },
		} {
			runs := 0
			err := run(t.Context(), func(tx *database.Tx) error {
				runs++
				if _, err := tx.Exec(t.Context(), "UPDATE counters SET value = 7"); err != nil {
					return err
				}
				return mine
			})
			if !errors.Is(err, mine) || unavailable.Is(err) || runs != 1 {
				t.Errorf("%s: got %v after %d runs", name, err, runs)
			}
			err = run(t.Context(), func(tx *database.Tx) error {
				runs++
				_, err := tx.Exec(t.Context(), "INSERT INTO counters (name, value) VALUES ('n', 1)")
				return err
			})
			if !errors.Is(err, database.ErrConflict) || unavailable.Is(err) || runs != 2 {
				t.Errorf("%s: a conflict: got %v after %d runs", name, err, runs)
			}
			if got := counter(t, db.Strings, "n"); got != 0 {
				t.Errorf("%s: the number is %d, want 0", name, got)
			}
		}
	})
}

func TestTransactionsEndWithTheirContext(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		counters(t, db, "n")
		for name, run := range map[string]transact{
			"write":  db.Write,
			"inTurn": func(ctx context.Context, do func(*database.Tx) error) error { return db.InTurn(ctx, "x", do) },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			err := run(ctx, func(tx *database.Tx) error {
				if _, err := tx.Exec(ctx, "UPDATE counters SET value = 7"); err != nil {
					return err
				}
				cancel()
				return nil
			})
			if !unavailable.Is(err) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", name, err)
			}
			if got := counter(t, db.Strings, "n"); got != 0 {
				t.Errorf("%s: the number is %d, want 0", name, got)
			}
		}
	})
}
