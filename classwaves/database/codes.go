package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/classwaves/rekey/classwaves/accesscode"
)

var _ accesscode.Directory = (*DB)(nil)

// SessionOfCode finds the class session that has an access code.
func (db *DB) SessionOfCode(ctx context.Context, code string) (sessionID string, found bool, err error) {
	found, err = one(ctx, db, "find the session of the code", "SELECT id FROM class_sessions WHERE access_code = $1", []any{code}, &sessionID)
	return sessionID, found, err
}

// CodeOfSession finds the access code that a class session has.
func (db *DB) CodeOfSession(ctx context.Context, sessionID string) (code string, found bool, err error) {
	found, err = one(ctx, db, "find the code of the session",
		"SELECT access_code FROM class_sessions WHERE id = $1 AND access_code IS NOT NULL", []any{sessionID}, &code)
	return code, found, err
}

// SetCode gives an access code to a class session that has none; one that has a code keeps it. taken:
// another session has the code, and nothing was changed. A session that is not there or has ended is
// [ErrReference].
func (db *DB) SetCode(ctx context.Context, sessionID, code string) (taken bool, err error) {
	const op = "set the code of the session"
	n, err := db.exec(ctx, op, "UPDATE class_sessions SET access_code = COALESCE(access_code, $2) WHERE id = $1 AND state <> 'ended'", sessionID, code)
	switch {
	case errors.Is(err, ErrConflict):
		return true, nil
	case err == nil && n == 0:
		return false, fmt.Errorf("%s: %w", op, ErrReference)
	}
	return false, err
}

// ReleaseCode takes a class session's access code from it. A session without one is no error.
func (db *DB) ReleaseCode(ctx context.Context, sessionID string) error {
	_, err := db.exec(ctx, "release the code of the session", "UPDATE class_sessions SET access_code = NULL WHERE id = $1 AND access_code IS NOT NULL", sessionID)
	return err
}
