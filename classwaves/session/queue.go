package session

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// maxQueued bounds each kind of what waits for the database. What is beyond it is dropped: a sign of
// life comes again, and mismatches are a count of attacks that needs no last digit.
const maxQueued = 100_000

// queue is what the database has to be told and no request waits for. Run empties it.
type queue struct {
	mu         sync.Mutex
	touches    map[string]Touch
	mismatches map[string]Mismatch
	ended      map[string]time.Time // by hash
	teachers   map[string]time.Time // ended everywhere
}

func newQueue() *queue {
	q := &queue{}
	q.empty()
	return q
}

func (q *queue) empty() {
	q.touches, q.mismatches = map[string]Touch{}, map[string]Mismatch{}
	q.ended, q.teachers = map[string]time.Time{}, map[string]time.Time{}
}

func (q *queue) touch(t Touch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old, ok := q.touches[t.Hash]; ok {
		t.Put = t.Put || old.Put
		t.At = later(t.At, old.At)
	} else if len(q.touches) >= maxQueued {
		return
	}
	q.touches[t.Hash] = t
}

func (q *queue) mismatch(m Mismatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old, ok := q.mismatches[m.Hash]; ok {
		m.Count += old.Count
		m.At = later(m.At, old.At)
	} else if len(q.mismatches) >= maxQueued {
		return
	}
	q.mismatches[m.Hash] = m
}

// end has sessions ended in the database later. These are never dropped.
func (q *queue) end(hashes []string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, hash := range hashes {
		q.ended[hash] = at
	}
}

func (q *queue) endTeacher(teacher string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.teachers[teacher] = at
}

// take empties the queue and returns what was in it.
func (q *queue) take() *queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := &queue{touches: q.touches, mismatches: q.mismatches, ended: q.ended, teachers: q.teachers}
	q.empty()
	return taken
}

// giveBack returns what was taken and could not be delivered.
func (q *queue) giveBack(taken *queue) {
	for _, t := range taken.touches {
		q.touch(t)
	}
	for _, m := range taken.mismatches {
		q.mismatch(m)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for hash, at := range taken.ended {
		q.ended[hash] = at
	}
	for teacher, at := range taken.teachers {
		if _, again := q.teachers[teacher]; !again {
			q.teachers[teacher] = at
		}
	}
}

func (q *queue) endedByTime() map[time.Time][]string {
	out := map[time.Time][]string{}
	for hash, at := range q.ended {
		out[at] = append(out[at], hash)
	}
	return out
}

func (q *queue) touchList() []Touch       { return slices.Collect(maps.Values(q.touches)) }
func (q *queue) mismatchList() []Mismatch { return slices.Collect(maps.Values(q.mismatches)) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
