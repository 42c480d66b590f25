package database

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/classwaves/rekey/classwaves/analytics"
)

var _ analytics.Source = (*DB)(nil)

// AnalyticsSession implements [analytics.Source].
func (db *DB) AnalyticsSession(ctx context.Context, sessionID string) (s analytics.SessionInfo, found bool, err error) {
	s.ID = sessionID
	found, err = one(ctx, db, "look up a class session",
		`SELECT teacher_id, state = 'ended' FROM class_sessions WHERE id = $1`,
		[]any{sessionID}, &s.TeacherID, &s.Ended)
	return s, found, err
}

// AnalyticsGroup implements [analytics.Source].
func (db *DB) AnalyticsGroup(ctx context.Context, groupID string) (sessionID string, found bool, err error) {
	found, err = one(ctx, db, "look up a group",
		`SELECT session_id FROM class_groups WHERE id = $1`, []any{groupID}, &sessionID)
	return sessionID, found, err
}

// LiveSessions implements [analytics.Source].
func (db *DB) LiveSessions(ctx context.Context, teacherID, after string, limit int) ([]analytics.SessionInfo, error) {
	// With state <> 'ended' both databases see that the partial index serves.
	statement := `SELECT id, teacher_id FROM class_sessions
		WHERE state <> 'ended' AND state <> 'created' AND id > $1`
	args := []any{after, limit}
	if teacherID != "" {
		statement += ` AND teacher_id = $3`
		args = append(args, teacherID)
	}
	return list(ctx, db, "list live sessions", statement+` ORDER BY id LIMIT $2`, args,
		func(r row) (s analytics.SessionInfo, err error) {
			err = r.Scan(&s.ID, &s.TeacherID)
			return s, err
		})
}

// LoadAnalytics implements [analytics.Source].
func (db *DB) LoadAnalytics(ctx context.Context, sessionIDs ...string) (map[string]analytics.Stored, error) {
	loaded := make(map[string]analytics.Stored)
	if len(sessionIDs) == 0 {
		return loaded, nil
	}
	places := make([]string, len(sessionIDs))
	args := make([]any, len(sessionIDs))
	for i, id := range sessionIDs {
		places[i], args[i] = fmt.Sprintf("$%d", i+1), id
	}
	err := db.query(ctx, "load session analytics",
		`SELECT session_id, record, revision FROM session_analytics WHERE session_id IN (`+strings.Join(places, ", ")+`)`, args,
		func(r row) error {
			var id, record string
			var s analytics.Stored
			if err := r.Scan(&id, &record, &s.Revision); err != nil {
				return err
			}
			s.Data = []byte(record)
			loaded[id] = s
			return nil
		})
	if err != nil {
		return nil, err
	}
	return loaded, nil
}

// SaveAnalytics implements [analytics.Source].
func (db *DB) SaveAnalytics(ctx context.Context, sessionID string, data []byte, revision int64) (saved bool, err error) {
	if len(data) == 0 || revision < 0 {
		return false, errors.New("save session analytics: no record, or a negative revision")
	}
	const op = "save session analytics"
	now := micros(db.config.Now())
	if revision == 0 {
		rows, err := db.exec(ctx, op, `INSERT INTO session_analytics (session_id, record, revision, saved_at)
			VALUES ($1, $2, 1, $3) ON CONFLICT (session_id) DO NOTHING`, sessionID, string(data), now)
		return rows == 1, err
	}
	rows, err := db.exec(ctx, op, `UPDATE session_analytics SET record = $2, revision = revision + 1, saved_at = $3
		WHERE session_id = $1 AND revision = $4`, sessionID, string(data), now, revision)
	return rows == 1, err
}
