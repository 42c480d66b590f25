package database

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// State is where a class session is in its life.
type State string

// The states. A session that has ended stays so unless a caller of [DB.SetState] names Ended among
// the states to come from.
const (
	Created State = "created"
	Active  State = "active"
	Paused  State = "paused"
	Ended   State = "ended"
)

// ParseState reads a state.
func ParseState(text string) (State, error) {
	switch s := State(text); s {
	case Created, Active, Paused, Ended:
		return s, nil
	}
	return "", fmt.Errorf("no state of a class session: %q", text)
}

// ClassSession is a lesson. Its access code is read by [DB.CodeOfSession].
type ClassSession struct {
	ID        string
	TeacherID string
	Title     string
	State     State
	CreatedAt time.Time
	StartedAt time.Time // the first start; zero: not started
	PausedAt  time.Time // the last pause; zero: never, or active again
	EndedAt   time.Time // zero: not ended
}

const classColumns = "id, teacher_id, title, state, created_at, started_at, paused_at, ended_at"

func (c *ClassSession) fields() []any {
	return []any{&c.ID, &c.TeacherID, &c.Title, &c.State, at(&c.CreatedAt), at(&c.StartedAt), at(&c.PausedAt), at(&c.EndedAt)}
}

// MaxPage is the most class sessions that [DB.ClassSessions] gives at once.
const MaxPage = 200

// CreateClassSession makes a class session, with its groups if there are any: all or nothing. Its
// state is [Created] where c has none. A teacher that is not there is [ErrReference].
func (db *DB) CreateClassSession(ctx context.Context, c ClassSession, groups ...Group) error {
	if c.State == "" {
		c.State = Created
	}
	const op = "create the class session"
	return db.write(ctx, op, func(t *tx) error {
		_, err := t.exec(ctx, op, "INSERT INTO class_sessions ("+classColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			c.ID, c.TeacherID, c.Title, string(c.State), micros(db.orNow(c.CreatedAt)), micros(c.StartedAt), micros(c.PausedAt), micros(c.EndedAt))
		if err != nil {
			return err
		}
		for _, g := range groups {
			g.SessionID = c.ID
			if err := addGroup(ctx, t, g); err != nil {
				return err
			}
		}
		return nil
	})
}

// ClassSession finds a class session.
func (db *DB) ClassSession(ctx context.Context, id string) (c ClassSession, found bool, err error) {
	found, err = one(ctx, db, "read the class session", "SELECT "+classColumns+" FROM class_sessions WHERE id = $1", []any{id}, c.fields()...)
	return c, found, err
}

// ClassSessions gives a page of a teacher's class sessions, the newest first: at most limit, and never
// more than [MaxPage]. The page begins after the session named before, "" for the first page; a session
// that is not the teacher's gives no page. Sessions that are made meanwhile move no page.
func (db *DB) ClassSessions(ctx context.Context, teacherID string, limit int, before string) ([]ClassSession, error) {
	const op = "list the class sessions"
	where, args := "teacher_id = $1", []any{teacherID, min(max(limit, 0), MaxPage)}
	if before != "" {
		// Not a subquery in the comparison: PostgreSQL would read the index from its start.
		var createdAt int64
		found, err := one(ctx, db, op, "SELECT created_at FROM class_sessions WHERE id = $1 AND teacher_id = $2", []any{before, teacherID}, &createdAt)
		if err != nil || !found {
			return nil, err
		}
		where, args = where+" AND (created_at, id) < ($3, $4)", append(args, createdAt, before)
	}
	return list(ctx, db, op, "SELECT "+classColumns+" FROM class_sessions WHERE "+where+" ORDER BY created_at DESC, id DESC LIMIT $2", args,
		func(r row) (c ClassSession, err error) {
			err = r.Scan(c.fields()...)
			return c, err
		})
}

// SetState takes a class session to a state, if it is in one of the others named. ok is false where
// it is not, or is not there: of two that change it at once, one wins. Ending it takes its access
// code away.
func (db *DB) SetState(ctx context.Context, id string, to State, when time.Time, from ...State) (ok bool, err error) {
	const op = "set the class session's state"
	if len(from) == 0 {
		return false, fmt.Errorf("%s: from no state: %w", op, ErrInvalid)
	}
	args := []any{id, string(to), micros(when)}
	places := make([]string, len(from))
	for i, state := range from {
		args = append(args, string(state))
		places[i] = fmt.Sprintf("$%d", len(args))
	}
	n, err := db.exec(ctx, op, `UPDATE class_sessions SET
		state       = $2,
		started_at  = CASE WHEN $2 = 'active' AND started_at = 0 THEN $3 ELSE started_at END,
		paused_at   = CASE $2 WHEN 'paused' THEN $3 WHEN 'active' THEN 0 ELSE paused_at END,
		ended_at    = CASE $2 WHEN 'ended' THEN $3 ELSE 0 END,
		access_code = CASE $2 WHEN 'ended' THEN NULL ELSE access_code END
		WHERE id = $1 AND state IN (`+strings.Join(places, ", ")+`)`, args...)
	return n == 1, err
}
