package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// row is one row of a result.
type row interface{ Scan(dest ...any) error }

// queryer is what statements run on: a [DB], where each is a transaction by itself, or a [tx]. op says
// what is being done, without identifiers: it becomes part of errors.
type queryer interface {
	// exec changes rows and says how many. Text that no database of ours can hold is ErrInvalid.
	exec(ctx context.Context, op, statement string, args ...any) (rows int64, err error)
	// query reads rows. On a DB it cannot write: INSERT ... RETURNING wants a tx. Text that no database
	// of ours can hold finds no rows, so compare text with = only, or text that was read from the database.
	query(ctx context.Context, op, statement string, args []any, each func(row) error) error
}

var (
	_ queryer = (*DB)(nil)
	_ queryer = (*tx)(nil)
)

// one reads one row; found is false where there is none.
func one(ctx context.Context, q queryer, op, statement string, args []any, dest ...any) (found bool, err error) {
	err = q.query(ctx, op, statement, args, func(r row) error {
		found = true
		return r.Scan(dest...)
	})
	return found && err == nil, err
}

// list reads all rows.
func list[T any](ctx context.Context, q queryer, op, statement string, args []any, scan func(row) (T, error)) ([]T, error) {
	var all []T
	err := q.query(ctx, op, statement, args, func(r row) error {
		value, err := scan(r)
		all = append(all, value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (db *DB) exec(ctx context.Context, op, statement string, args ...any) (rows int64, err error) {
	if !storable(args) {
		return 0, fmt.Errorf("%s: %w", op, ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, db.config.Timeout)
	defer cancel()
	err = retry(ctx, func() error {
		result, err := db.writes.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		rows, err = result.RowsAffected()
		return err
	})
	return rows, mapped(ctx, op, err)
}

func (db *DB) query(ctx context.Context, op, statement string, args []any, each func(row) error) error {
	if !storable(args) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, db.config.Timeout)
	defer cancel()
	// Not tried again: each may have seen rows. A statement that only reads is refused for nobody's sake.
	rows, err := db.reads.QueryContext(ctx, statement, args...)
	return mapped(ctx, op, drain(rows, err, each))
}

// storable says whether every text among args is one that PostgreSQL takes: UTF-8 without the NUL
// character. SQLite takes more, and a value must not depend on where it is stored.
func storable(args []any) bool {
	for _, arg := range args {
		if text, ok := arg.(string); ok && (!utf8.ValidString(text) || strings.ContainsRune(text, 0)) {
			return false
		}
	}
	return true
}

// drain hands on all rows and closes them.
func drain(rows *sql.Rows, err error, each func(row) error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := each(rows); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// micros is a time as it is stored: microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at is a place to scan a stored time to.
func at(t *time.Time) sql.Scanner { return (*stored)(t) }

type stored time.Time

func (s *stored) Scan(value any) error {
	us, ok := value.(int64)
	if !ok {
		return errors.New("a time is not stored as a number")
	}
	*s = stored{}
	if us != 0 {
		*s = stored(time.UnixMicro(us).UTC())
	}
	return nil
}
