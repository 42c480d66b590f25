package database

import (
	"context"
	"fmt"
	"time"
)

// Group is a group of a class session.
type Group struct {
	ID        string
	SessionID string
	Name      string // no other group of the session has it
	Ready     bool
}

// Participant is somebody who joined a class session.
type Participant struct {
	ID        string
	SessionID string
	GroupID   string // of the same session; "" is none
	Name      string
	JoinedAt  time.Time
}

// AddGroup adds a group to a class session, after those that it has. A name that the session has already is [ErrConflict], a
// session that is not there [ErrReference].
func (db *DB) AddGroup(ctx context.Context, g Group) error { return addGroup(ctx, db, g) }

func addGroup(ctx context.Context, q queryer, g Group) error {
	_, err := q.exec(ctx, "add the group", `INSERT INTO class_groups (id, session_id, name, ready, position)
		VALUES ($1, $2, $3, $4, (SELECT COALESCE(MAX(position), 0) + 1 FROM class_groups WHERE session_id = $2))`,
		g.ID, g.SessionID, g.Name, g.Ready)
	return err
}

// Groups gives a class session's groups in the order in which they were added.
func (db *DB) Groups(ctx context.Context, sessionID string) ([]Group, error) {
	return list(ctx, db, "list the groups", "SELECT id, session_id, name, ready FROM class_groups WHERE session_id = $1 ORDER BY position, name, id", []any{sessionID},
		func(r row) (g Group, err error) {
			err = r.Scan(&g.ID, &g.SessionID, &g.Name, &g.Ready)
			return g, err
		})
}

// SetGroupReady says whether a group is ready. A group that is not there is [ErrReference].
func (db *DB) SetGroupReady(ctx context.Context, id string, ready bool) error {
	const op = "set whether the group is ready"
	n, err := db.exec(ctx, op, "UPDATE class_groups SET ready = $2 WHERE id = $1", id, ready)
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", op, ErrReference)
	}
	return err
}

// AddParticipant adds somebody to a class session. A session that is not there or has ended is
// [ErrReference], and so is a group that is not the session's.
func (db *DB) AddParticipant(ctx context.Context, p Participant) error {
	const op = "add the participant"
	// One statement, so that nobody gets in beside the end of the session. The casts are for
	// PostgreSQL, which does not look from here to the columns for the types.
	var group any // NULL: none
	if p.GroupID != "" {
		group = p.GroupID
	}
	n, err := db.exec(ctx, op, `INSERT INTO participants (id, session_id, group_id, name, joined_at)
		SELECT CAST($1 AS TEXT), id, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT)
		FROM class_sessions WHERE id = $2 AND state <> 'ended'`,
		p.ID, p.SessionID, group, p.Name, micros(db.orNow(p.JoinedAt)))
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", op, ErrReference)
	}
	return err
}

// Participants gives those who joined a class session, in the order in which they did.
func (db *DB) Participants(ctx context.Context, sessionID string) ([]Participant, error) {
	return list(ctx, db, "list the participants", `SELECT id, session_id, COALESCE(group_id, ''), name, joined_at
		FROM participants WHERE session_id = $1 ORDER BY joined_at, id`, []any{sessionID},
		func(r row) (p Participant, err error) {
			err = r.Scan(&p.ID, &p.SessionID, &p.GroupID, &p.Name, at(&p.JoinedAt))
			return p, err
		})
}
