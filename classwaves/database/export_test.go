package database

import (
	"context"
	"database/sql"
	"strings"

	"github.com/pressly/goose/v3"
)

// What tests reach into.

// Tx is a transaction.
type Tx = tx

// Migrations goes up and down.
func (db *DB) Migrations() (*goose.Provider, error) { return db.migrations() }

// Exec runs a statement.
func (db *DB) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	return db.exec(ctx, "test", statement, args...)
}

// Strings reads a column of text.
func (db *DB) Strings(ctx context.Context, statement string, args ...any) ([]string, error) {
	return list(ctx, db, "test", statement, args, scanString)
}

// Write runs a serializable transaction.
func (db *DB) Write(ctx context.Context, do func(*tx) error) error { return db.write(ctx, "test", do) }

// InTurn runs a transaction behind others of its name.
func (db *DB) InTurn(ctx context.Context, name string, do func(*tx) error) error {
	return db.inTurn(ctx, "test", name, do)
}

// Naive runs a transaction as database/sql begins one, and never again.
func (db *DB) Naive(ctx context.Context, do func(*tx) error) error {
	begun, err := db.writes.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(&tx{tx: begun}); err != nil {
		_ = begun.Rollback() // the first error says more
		return err
	}
	return begun.Commit()
}

// Exec runs a statement.
func (t *tx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	return t.exec(ctx, "test", statement, args...)
}

// Strings reads a column of text.
func (t *tx) Strings(ctx context.Context, statement string, args ...any) ([]string, error) {
	return list(ctx, t, "test", statement, args, scanString)
}

// SQLite says which of the two it is.
func (db *DB) SQLite() bool { return db.dialect == sqlite }

func scanString(r row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// Explain is SQLite's plan of a question.
func (db *DB) Explain(ctx context.Context, question string) (string, error) {
	steps, err := list(ctx, db, "test", "EXPLAIN QUERY PLAN "+question, nil, func(r row) (detail string, err error) {
		var ignored int
		err = r.Scan(&ignored, &ignored, &ignored, &detail)
		return detail, err
	})
	return strings.Join(steps, "\n"), err
}

// Bare is what statements that read go to.
func (db *DB) Bare() *sql.DB { return db.reads }
