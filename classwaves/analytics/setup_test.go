package analytics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// memory is a database in memory, which can be taken down.
type memory struct {
	mu       sync.Mutex
	down     bool
	sessions map[string]SessionInfo
	created  map[string]bool // not started: not in the list of live ones
	rows     map[string]Stored
	loads    int
	onLoad   func() // once, after a load has read and before it answers
}

// newMemory has the sessions s0 ... of teacher t0, and every group "<session>-..." is in it.
func newMemory(sessions int) *memory {
	m := &memory{sessions: make(map[string]SessionInfo), created: make(map[string]bool), rows: make(map[string]Stored)}
	for i := range sessions {
		id := fmt.Sprintf("s%d", i)
		m.sessions[id] = SessionInfo{ID: id, TeacherID: "t0"}
	}
	return m
}

var errDown = &unavailable.Error{Op: "test", Err: errors.New("the database is down")}

func (m *memory) set(change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func (m *memory) AnalyticsSession(ctx context.Context, id string) (SessionInfo, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || ctx.Err() != nil {
		return SessionInfo{}, false, errDown
	}
	s, ok := m.sessions[id]
	return s, ok, nil
}

func (m *memory) AnalyticsGroup(_ context.Context, id string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return "", false, errDown
	}
	session, _, ok := strings.Cut(id, "-")
	_, exists := m.sessions[session]
	return session, ok && exists, nil
}

func (m *memory) LiveSessions(_ context.Context, teacher, after string, limit int) ([]SessionInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	var out []SessionInfo
	for _, id := range slices.Sorted(maps.Keys(m.sessions)) {
		s := m.sessions[id]
		if id > after && !s.Ended && !m.created[id] && (teacher == "" || s.TeacherID == teacher) && len(out) < limit {
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memory) LoadAnalytics(_ context.Context, ids ...string) (map[string]Stored, error) {
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return nil, errDown
	}
	out := make(map[string]Stored)
	for _, id := range ids {
		if s, ok := m.rows[id]; ok {
			out[id] = s
		}
	}
	m.loads++
	then := m.onLoad
	m.onLoad = nil
	m.mu.Unlock()
	if then != nil {
		then()
	}
	return out, nil
}

func (m *memory) SaveAnalytics(_ context.Context, id string, data []byte, revision int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return false, errDown
	}
	if m.rows[id].Revision != revision {
		return false, nil
	}
	m.rows[id] = Stored{Data: slices.Clone(data), Revision: revision + 1}
	return true, nil
}

var _ Source = (*memory)(nil)

// start makes analytics over a client.
func start(t testing.TB, rdb redis.UniversalClient, db Source, changes ...func(*Config)) *Analytics {
	t.Helper()
	c := Config{Redis: rdb, Source: db, NoJitter: true, CacheTimeout: waitAtMost, SourceTimeout: waitAtMost} // a busy machine is no outage
	for _, change := range changes {
		change(&c)
	}
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// client is one that gives up when its caller does, as an application's should.
func client(s *redistest.Server, changes ...func(*redis.Options)) *redis.Client {
	return s.Client(append(changes, func(o *redis.Options) { o.ContextTimeoutEnabled = true })...)
}

// once makes a client try everything once, so that it is known at once that its server was killed.
func once(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

func apply(t testing.TB, a *Analytics, session string, events ...Event) SessionMetrics {
	t.Helper()
	var m SessionMetrics
	for _, e := range events {
		var err error
		if m, err = a.Apply(t.Context(), session, e); err != nil {
			t.Fatalf("apply %s: %v", e.Kind, err)
		}
	}
	return m
}

func joined(group string) Event { return Event{Kind: ParticipantJoined, GroupID: group} }

func sessionOf(t testing.TB, a *Analytics, id string) SessionMetrics {
	t.Helper()
	m, found, err := a.Session(t.Context(), id)
	if err != nil || !found {
		t.Fatalf("session: found %v, error %v", found, err)
	}
	return m
}

func groupOf(t testing.TB, a *Analytics, id string) GroupMetrics {
	t.Helper()
	g, found, err := a.Group(t.Context(), id)
	if err != nil || !found {
		t.Fatalf("group: found %v, error %v", found, err)
	}
	return g
}

func dashboardOf(t testing.TB, a *Analytics, teacher string) Dashboard {
	t.Helper()
	d, err := a.Dashboard(t.Context(), teacher)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// storedParticipants is what the database has by itself.
func (m *memory) storedParticipants(t testing.TB, session string) int64 {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[session]
	if !ok {
		return 0
	}
	rec, err := parseRecord(row.Data)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Participants
}

const (
	waitAtMost = 30 * time.Second
	hour       = time.Hour
)

// behindBy gives a process a clock that is behind.
func behindBy(d time.Duration) func(*Config) {
	return func(c *Config) { c.Now = func() time.Time { return time.Now().Add(-d) } }
}

// testClock is a clock that is moved by hand.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *testClock) set(config *Config) {
	began := time.Now()
	config.Now = func() time.Time { return began.Add(time.Duration(c.ahead.Load())) }
}

func withAddr(addr string) func(*redis.Options) {
	return func(o *redis.Options) { o.Addr, o.ContextTimeoutEnabled = addr, true }
}
