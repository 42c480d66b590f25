package database

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classwaves/rekey/classwaves/session"
)

var _ session.Backing = (*DB)(nil)

const sessionColumns = `id_hash, sealed_id, teacher_id, login_order, created_at, last_activity, deadline,
	agent, network, revoked_at, pending, version`

func scanSession(r row) (s session.Record, err error) {
	err = r.Scan(&s.Hash, &s.SealedID, &s.TeacherID, &s.Order, at(&s.CreatedAt), at(&s.LastActivity), at(&s.Deadline),
		&s.Agent, &s.Network, at(&s.RevokedAt), &s.Pending, &s.Version)
	return s, err
}

// step runs statements that are each right by themselves, whatever comes between them, and takes
// effect as a whole.
func (db *DB) step(ctx context.Context, op string, do func(*tx) error) error {
	isolation := sql.LevelReadCommitted // serializable ones would be refused where these wait
	if db.dialect == sqlite {
		isolation = sql.LevelDefault
	}
	return db.transact(ctx, op, isolation, do)
}

// logins is the name under which changes to which sessions a teacher has wait for each other.
func logins(teacherID string) string { return "logins " + teacherID }

// SaveSession implements [session.Backing].
func (db *DB) SaveSession(ctx context.Context, r session.Record, limit session.Limit) (session.Saved, error) {
	const op = "save a login session"
	var saved session.Saved
	err := db.inTurn(ctx, op, logins(r.TeacherID), func(t *tx) error {
		saved = session.Saved{Record: r}
		s := &saved.Record
		s.RevokedAt, s.Pending, s.Version = time.Time{}, session.PendingPut, 1
		var err error
		if s.Order, err = nextOrder(ctx, t, op, r.TeacherID, limit.Now); err != nil {
			return err
		}
		living, err := list(ctx, t, op, `SELECT `+sessionColumns+` FROM login_sessions
			WHERE teacher_id = $1 AND revoked_at = 0 AND deadline > $2 AND last_activity > $3
			ORDER BY login_order DESC`, []any{r.TeacherID, micros(limit.Now), micros(limit.IdleSince)}, scanSession)
		if err != nil {
			return err
		}
		kept := min(len(living), max(0, limit.Max-1))
		saved.Kept = living[:kept]
		var over []string
		for _, old := range living[kept:] {
			over = append(over, old.Hash)
		}
		if saved.Evicted, err = revoke(ctx, t, op, over, limit.Now); err != nil {
			return err
		}
		_, err = t.exec(ctx, op, `INSERT INTO login_sessions (`+sessionColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			s.Hash, s.SealedID, s.TeacherID, s.Order, micros(s.CreatedAt), micros(s.LastActivity), micros(s.Deadline),
			s.Agent, s.Network, micros(s.RevokedAt), int64(s.Pending), s.Version)
		return err
	})
	return saved, err
}

// nextOrder takes the next place among a teacher's logins.
func nextOrder(ctx context.Context, t *tx, op, teacherID string, now time.Time) (order int64, err error) {
	_, err = one(ctx, t, op, `INSERT INTO login_orders (teacher_id, last_order) VALUES ($1, $2)
		ON CONFLICT (teacher_id) DO UPDATE SET last_order =
			CASE WHEN excluded.last_order > login_orders.last_order THEN excluded.last_order ELSE login_orders.last_order + 1 END
		RETURNING last_order`, []any{teacherID, now.UnixMilli()}, &order)
	return order, err
}

// revoke ends sessions. One that was ended before keeps its time and is cleared again.
func revoke(ctx context.Context, t *tx, op string, hashes []string, now time.Time) ([]session.Record, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	args := []any{micros(now)}
	return list(ctx, t, op, `UPDATE login_sessions
		SET revoked_at = CASE WHEN revoked_at = 0 THEN $1 ELSE revoked_at END, pending = 2, version = version + 1
		WHERE id_hash IN (`+places(&args, hashes)+`) RETURNING `+sessionColumns, args, scanSession)
}

// places adds values to a statement's arguments and gives their placeholders.
func places(args *[]any, values []string) string {
	numbered := make([]string, len(values))
	for i, v := range values {
		*args = append(*args, v)
		numbered[i] = fmt.Sprintf("$%d", len(*args))
	}
	return strings.Join(numbered, ", ")
}

// FindSession implements [session.Backing].
func (db *DB) FindSession(ctx context.Context, hash string) (s session.Record, found bool, err error) {
	all, err := list(ctx, db, "find a login session",
		`SELECT `+sessionColumns+` FROM login_sessions WHERE id_hash = $1`, []any{hash}, scanSession)
	if err != nil || len(all) == 0 {
		return session.Record{}, false, err
	}
	return all[0], true, nil
}

// RevokeSessions implements [session.Backing].
func (db *DB) RevokeSessions(ctx context.Context, hashes []string, now time.Time) (ended []session.Record, err error) {
	const op = "end login sessions"
	err = db.step(ctx, op, func(t *tx) error {
		ended, err = revoke(ctx, t, op, hashes, now)
		return err
	})
	return ended, err
}

// RevokeTeacher implements [session.Backing].
func (db *DB) RevokeTeacher(ctx context.Context, teacherID string, now time.Time, upTo int64) (ended []session.Record, order int64, err error) {
	const op = "end a teacher's login sessions"
	err = db.inTurn(ctx, op, logins(teacherID), func(t *tx) error {
		if order, err = nextOrder(ctx, t, op, teacherID, now); err != nil {
			return err
		}
		ended, err = list(ctx, t, op, `UPDATE login_sessions SET revoked_at = $1, pending = 2, version = version + 1
			WHERE teacher_id = $2 AND revoked_at = 0 AND login_order <= $3 RETURNING `+sessionColumns,
			[]any{micros(now), teacherID, upTo}, scanSession)
		return err
	})
	return ended, order, err
}

// TouchSessions implements [session.Backing].
func (db *DB) TouchSessions(ctx context.Context, touches []session.Touch) error {
	const op = "store signs of life"
	ordered := slices.Clone(touches) // so that two of these wait for each other in one order
	slices.SortFunc(ordered, func(a, b session.Touch) int { return cmp.Compare(a.Hash, b.Hash) })
	return db.step(ctx, op, func(t *tx) error {
		for _, touch := range ordered {
			statement := `UPDATE login_sessions
				SET last_activity = CASE WHEN last_activity < $2 THEN $2 ELSE last_activity END`
			if touch.Put {
				statement += `, pending = 1, version = version + 1`
			}
			_, err := t.exec(ctx, op, statement+` WHERE id_hash = $1 AND revoked_at = 0`, touch.Hash, micros(touch.At))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RecordMismatches implements [session.Backing].
func (db *DB) RecordMismatches(ctx context.Context, mismatches []session.Mismatch) error {
	const op = "record refused requests"
	ordered := slices.Clone(mismatches)
	slices.SortFunc(ordered, func(a, b session.Mismatch) int { return cmp.Compare(a.Hash, b.Hash) })
	return db.step(ctx, op, func(t *tx) error {
		for _, m := range ordered {
			_, err := t.exec(ctx, op, `INSERT INTO login_mismatches (id_hash, agent, network, requests, last_at)
				VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (id_hash) DO UPDATE SET agent = excluded.agent, network = excluded.network,
					requests = login_mismatches.requests + excluded.requests, last_at = excluded.last_at`,
				m.Hash, m.Agent, m.Network, m.Count, micros(m.At))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// SessionMismatches returns how often a session was asked for from somewhere else than its login.
func (db *DB) SessionMismatches(ctx context.Context, hash string) (m session.Mismatch, found bool, err error) {
	found, err = one(ctx, db, "look up refused requests",
		`SELECT id_hash, agent, network, requests, last_at FROM login_mismatches WHERE id_hash = $1`, []any{hash},
		&m.Hash, &m.Agent, &m.Network, &m.Count, at(&m.At))
	return m, found, err
}

// PendingSessions implements [session.Backing].
func (db *DB) PendingSessions(ctx context.Context, after string, limit int) ([]session.Record, error) {
	return list(ctx, db, "list what the cache misses", `SELECT `+sessionColumns+` FROM login_sessions
		WHERE pending <> 0 AND id_hash > $1 ORDER BY id_hash LIMIT $2`, []any{after, limit}, scanSession)
}

// SettleSessions implements [session.Backing].
func (db *DB) SettleSessions(ctx context.Context, settled []session.Settled) (changed []string, err error) {
	const op = "settle login sessions"
	ordered := slices.Clone(settled)
	slices.SortFunc(ordered, func(a, b session.Settled) int { return cmp.Compare(a.Hash, b.Hash) })
	err = db.step(ctx, op, func(t *tx) error {
		changed = nil
		for _, s := range ordered {
			rows, err := t.exec(ctx, op, `UPDATE login_sessions SET pending = 0 WHERE id_hash = $1 AND version = $2`, s.Hash, s.Version)
			if err != nil {
				return err
			}
			if rows == 0 {
				changed = append(changed, s.Hash)
			}
		}
		return nil
	})
	return changed, err
}

// RefillCache implements [session.Backing].
func (db *DB) RefillCache(ctx context.Context, server string, now time.Time) (done bool, err error) {
	const op = "refill the cache of login sessions"
	err = db.step(ctx, op, func(t *tx) error {
		rows, err := t.exec(ctx, op, `INSERT INTO login_cache (id, server) VALUES (1, $1)
			ON CONFLICT (id) DO UPDATE SET server = excluded.server WHERE login_cache.server <> excluded.server`, server)
		if done = rows > 0; err != nil || !done {
			return err
		}
		_, err = t.exec(ctx, op, `UPDATE login_sessions
			SET pending = CASE WHEN revoked_at = 0 THEN 1 ELSE 2 END, version = version + 1 WHERE deadline > $1`, micros(now))
		return err
	})
	return done && err == nil, err
}

// ForgetSessions implements [session.Backing].
func (db *DB) ForgetSessions(ctx context.Context, before time.Time) (n int, err error) {
	const op = "forget old login sessions"
	err = db.step(ctx, op, func(t *tx) error {
		_, err := t.exec(ctx, op, `DELETE FROM login_mismatches WHERE id_hash IN
			(SELECT id_hash FROM login_sessions WHERE deadline < $1)`, micros(before))
		if err != nil {
			return err
		}
		rows, err := t.exec(ctx, op, `DELETE FROM login_sessions WHERE deadline < $1`, micros(before))
		n = int(rows)
		return err
	})
	return n, err
}
