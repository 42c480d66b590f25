package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

const (
	maxAttempts  = 12                     // of one transaction
	firstBackoff = 2 * time.Millisecond   // doubled each time, half of it by chance
	longBackoff  = 200 * time.Millisecond // and never longer
)

// tx is a transaction. Its methods are for one goroutine. Inside of one, nothing may be asked of the
// DB itself: with SQLite it waits for the connection that the transaction holds.
type tx struct {
	tx *sql.Tx

	// failed is the first error of a driver, unmapped: it alone tells whether all of it may be tried
	// again. After it, PostgreSQL refuses every statement.
	failed error
}

// write runs do in a serializable transaction, and runs it again where the database asks for that;
// do must have no effects but on the transaction. An error of do's own ends it and comes back as
// it is.
//
// Where many are expected to change the same thing at once, [DB.inTurn] is better: they wait, where
// here all but one do their work in vain.
func (db *DB) write(ctx context.Context, op string, do func(*tx) error) error {
	isolation := sql.LevelSerializable
	if db.dialect == sqlite {
		isolation = sql.LevelDefault // never anything else, and its driver knows no name for it
	}
	return db.transact(ctx, op, isolation, do)
}

// inTurn runs do in a transaction that begins when no other of this name is under way, in any
// process, and sees what those before it have committed. It does not hold off statements of other
// transactions: whatever changes the same rows must be inTurn under the same name, or be one
// statement that is right by itself.
func (db *DB) inTurn(ctx context.Context, op, name string, do func(*tx) error) error {
	if db.dialect == sqlite {
		return db.write(ctx, op, do) // the one writer
	}
	// Not serializable: its snapshot would be taken when it begins to wait, and be out of date when it
	// has its turn. Here each statement sees what is committed when it starts.
	return db.transact(ctx, op, sql.LevelReadCommitted, func(t *tx) error {
		if _, err := t.exec(ctx, op, "SELECT pg_advisory_xact_lock($1)", lockID(name)); err != nil {
			return err
		}
		return do(t)
	})
}

// lockID is a name's number among PostgreSQL's advisory locks. Two names with one number wait for each
// other without need, and 64 bits make that rare.
func lockID(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte("classwaves " + name)) // never fails
	return int64(h.Sum64())
}

func (db *DB) transact(ctx context.Context, op string, isolation sql.IsolationLevel, do func(*tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.config.Timeout)
	defer cancel()
	var answer error // of do: mapped, or its own
	err := retry(ctx, func() error {
		answer = nil
		begun, err := db.writes.BeginTx(ctx, &sql.TxOptions{Isolation: isolation})
		if err != nil {
			return err
		}
		t := &tx{tx: begun}
		if answer = do(t); answer != nil {
			// The connection may be the cause and broken; then the rollback fails as well, and the
			// server has rolled back by itself.
			_ = begun.Rollback()
			return t.failed
		}
		return begun.Commit()
	})
	if answer != nil {
		return answer
	}
	return mapped(ctx, op, err)
}

func (t *tx) exec(ctx context.Context, op, statement string, args ...any) (rows int64, err error) {
	if !storable(args) {
		return 0, fmt.Errorf("%s: %w", op, ErrInvalid)
	}
	result, err := t.tx.ExecContext(ctx, statement, args...)
	if err == nil {
		rows, err = result.RowsAffected()
	}
	return rows, t.mapped(ctx, op, err)
}

func (t *tx) query(ctx context.Context, op, statement string, args []any, each func(row) error) error {
	if !storable(args) {
		return nil
	}
	rows, err := t.tx.QueryContext(ctx, statement, args...)
	return t.mapped(ctx, op, drain(rows, err, each))
}

func (t *tx) mapped(ctx context.Context, op string, err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return mapped(ctx, op, err)
}

// retry runs do until it succeeds or fails for good. What it runs again was rolled back by the
// database, so no effect is had twice.
func retry(ctx context.Context, do func() error) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || kindOf(err) != again || attempt == maxAttempts {
			return err
		}
		timer := time.NewTimer(backoff/2 + rand.N(backoff/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		}
		backoff = min(2*backoff, longBackoff)
	}
}
