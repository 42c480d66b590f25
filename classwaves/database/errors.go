package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	driver "modernc.org/sqlite"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// What a constraint refuses. The errors of this package wrap one of these with what was being done.
var (
	// ErrConflict: it must be unique and is there already.
	ErrConflict = errors.New("exists already")
	// ErrReference: it belongs to something that is not there.
	ErrReference = errors.New("belongs to what does not exist")
	// ErrInvalid: the database cannot hold this value.
	ErrInvalid = errors.New("invalid value")
)

// kind is what an error of a driver means to us.
type kind int

const (
	out       kind = iota // no answer; also whatever we do not know
	conflict              // ErrConflict
	reference             // ErrReference
	invalid               // ErrInvalid
	again                 // rolled back for the sake of others; the same may succeed at once
)

func kindOf(err error) kind {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return postgresKind(pg)
	}
	var lite *driver.Error
	if errors.As(err, &lite) {
		return sqliteKind(lite)
	}
	return out
}

// mapped gives a driver's error the meaning that callers ask for. Constraints lose the driver's
// words, which may hold values; op says what was refused.
func mapped(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	switch kindOf(err) {
	case conflict:
		return fmt.Errorf("%s: %w", op, ErrConflict)
	case reference:
		return fmt.Errorf("%s: %w", op, ErrReference)
	case invalid:
		return fmt.Errorf("%s: %w", op, ErrInvalid)
	case out, again:
		// again, and it was tried often enough
	}
	return unavailable.Wrap(op, outage(ctx, err))
}

// outage adds the end of the context to an error that came of it: a driver may say "interrupted".
func outage(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}
