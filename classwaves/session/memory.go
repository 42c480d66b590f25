package session

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is a Backing for programs of a single process, and for tests. What it knows ends with the
// process; what Redis knows does not.
type Memory struct {
	mu         sync.Mutex
	records    map[string]Record
	orders     map[string]int64 // by teacher
	mismatches map[string]Mismatch
	server     string
}

var _ Backing = (*Memory)(nil)

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{records: map[string]Record{}, orders: map[string]int64{}, mismatches: map[string]Mismatch{}}
}

// SessionMismatches returns what was recorded for a session.
func (m *Memory) SessionMismatches(_ context.Context, hash string) (Mismatch, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.mismatches[hash]
	return found, ok, nil
}

// SaveSession implements Backing.
func (m *Memory) SaveSession(_ context.Context, r Record, limit Limit) (Saved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Order = m.nextOrder(r.TeacherID, limit.Now.UnixMilli())
	r.Pending, r.Version, r.RevokedAt = PendingPut, 1, time.Time{}
	var living []Record
	for _, old := range m.records {
		if old.TeacherID == r.TeacherID && !old.Revoked() && old.Deadline.After(limit.Now) && old.LastActivity.After(limit.IdleSince) {
			living = append(living, old)
		}
	}
	slices.SortFunc(living, func(a, b Record) int { return cmp.Compare(b.Order, a.Order) })
	saved := Saved{Record: r}
	for i, old := range living {
		if i < limit.Max-1 {
			saved.Kept = append(saved.Kept, old)
			continue
		}
		saved.Evicted = append(saved.Evicted, m.revoke(old, limit.Now))
	}
	m.records[r.Hash] = r
	return saved, nil
}

// nextOrder is later than every order of the teacher's before.
func (m *Memory) nextOrder(teacher string, atLeast int64) int64 {
	m.orders[teacher] = max(m.orders[teacher]+1, atLeast)
	return m.orders[teacher]
}

// revoke ends a session; once ended it keeps its time.
func (m *Memory) revoke(r Record, at time.Time) Record {
	if !r.Revoked() {
		r.RevokedAt = at
	}
	r.Pending = PendingClear
	r.Version++
	m.records[r.Hash] = r
	return r
}

// FindSession implements Backing.
func (m *Memory) FindSession(_ context.Context, hash string) (Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[hash]
	return r, ok, nil
}

// RevokeSessions implements Backing.
func (m *Memory) RevokeSessions(_ context.Context, hashes []string, at time.Time) (ended []Record, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, hash := range hashes {
		if r, ok := m.records[hash]; ok {
			ended = append(ended, m.revoke(r, at))
		}
	}
	return ended, nil
}

// RevokeTeacher implements Backing.
func (m *Memory) RevokeTeacher(_ context.Context, teacherID string, at time.Time, upTo int64) (ended []Record, _ int64, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	order := m.nextOrder(teacherID, at.UnixMilli())
	for _, r := range m.records {
		if r.TeacherID == teacherID && !r.Revoked() && r.Order <= upTo {
			ended = append(ended, m.revoke(r, at))
		}
	}
	return ended, order, nil
}

// TouchSessions implements Backing.
func (m *Memory) TouchSessions(_ context.Context, touches []Touch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range touches {
		r, ok := m.records[t.Hash]
		if !ok || r.Revoked() {
			continue
		}
		r.LastActivity = later(r.LastActivity, t.At)
		if t.Put {
			r.Pending = PendingPut
			r.Version++
		}
		m.records[t.Hash] = r
	}
	return nil
}

// RecordMismatches implements Backing.
func (m *Memory) RecordMismatches(_ context.Context, mismatches []Mismatch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, added := range mismatches {
		added.Count += m.mismatches[added.Hash].Count
		m.mismatches[added.Hash] = added
	}
	return nil
}

// PendingSessions implements Backing.
func (m *Memory) PendingSessions(_ context.Context, after string, limit int) (pending []Record, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, r := range m.records {
		if r.Pending != PendingNone && hash > after {
			pending = append(pending, r)
		}
	}
	slices.SortFunc(pending, func(a, b Record) int { return cmp.Compare(a.Hash, b.Hash) })
	return pending[:min(limit, len(pending))], nil
}

// SettleSessions implements Backing.
func (m *Memory) SettleSessions(_ context.Context, settled []Settled) (changed []string, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range settled {
		r, ok := m.records[s.Hash]
		if !ok || r.Version != s.Version {
			changed = append(changed, s.Hash)
			continue
		}
		r.Pending = PendingNone
		m.records[s.Hash] = r
	}
	return changed, nil
}

// RefillCache implements Backing.
func (m *Memory) RefillCache(_ context.Context, server string, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == server {
		return false, nil
	}
	m.server = server
	for hash, r := range m.records {
		if !r.Deadline.After(now) {
			continue
		}
		r.Pending = PendingPut
		if r.Revoked() {
			r.Pending = PendingClear
		}
		r.Version++
		m.records[hash] = r
	}
	return true, nil
}

// ForgetSessions implements Backing.
func (m *Memory) ForgetSessions(_ context.Context, before time.Time) (n int, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, r := range m.records {
		if r.Deadline.Before(before) {
			delete(m.records, hash)
			delete(m.mismatches, hash)
			n++
		}
	}
	return n, nil
}
