package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const within = 20 * time.Second

// key is a key of the ring for tests.
func key(t testing.TB, id string) session.Key {
	t.Helper()
	secret := fmt.Sprintf("%-32.32s", "secret of "+id)
	k, err := session.ParseKey(id + ":" + base64.StdEncoding.EncodeToString([]byte(secret)))
	must(t, err)
	return k
}

// clock is a clock that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) forward(d time.Duration) { c.offset.Add(int64(d)) }

// process is one process of the fleet.
type process struct {
	t        testing.TB
	sessions *session.Sessions
	rdb      *redis.Client
	http     http.Handler
}

// start makes a process that trusts Redis, and whose beats are the test's.
func start(t testing.TB, rdb *redis.Client, backing session.Backing, changes ...func(*session.Config)) *process {
	t.Helper()
	p := prepare(t, rdb, backing, changes...)
	trusts(t, p)
	return p
}

// prepare makes a process as it is before its first beat.
func prepare(t testing.TB, rdb *redis.Client, backing session.Backing, changes ...func(*session.Config)) *process {
	t.Helper()
	cfg := session.Config{Redis: rdb, Backing: backing, Keys: []session.Key{key(t, "k1")}, NoJitter: true,
		CacheTimeout: within, DatabaseTimeout: within, // a busy machine is no outage
	}
	for _, change := range changes {
		change(&cfg)
	}
	s, err := session.New(cfg)
	must(t, err)
	s.SetLinger(0)
	t.Cleanup(func() { must(t, s.Close()) })
	p := &process{t: t, sessions: s, rdb: rdb}
	mux := http.NewServeMux()
	mux.HandleFunc("/login/{teacher}", func(w http.ResponseWriter, r *http.Request) {
		made, err := s.Login(r, r.PathValue("teacher"))
		answer(w, made.ID, err)
	})
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
		found, err := s.Authenticate(r.Context())
		answer(w, found.TeacherID, err)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { answer(w, "", s.Logout(r.Context())) })
	mux.HandleFunc("/everywhere/{teacher}", func(w http.ResponseWriter, r *http.Request) {
		n, err := s.LogoutEverywhere(r.Context(), r.PathValue("teacher"))
		answer(w, fmt.Sprint(n), err)
	})
	p.http = s.Middleware(mux)
	return p
}

func answer(w http.ResponseWriter, body string, err error) {
	switch {
	case err == nil:
		_, _ = io.WriteString(w, body)
	case errors.Is(err, session.ErrNone), errors.Is(err, session.ErrFingerprint):
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case unavailable.Is(err):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// browser is a client with its cookie.
type browser struct {
	cookie, agent, addr string
}

func newBrowser() *browser { return &browser{agent: "Browser/1", addr: "192.0.2.7:4711"} }

func (b *browser) copy() *browser { c := *b; return &c }

// get asks a process and keeps the cookie that it gives.
func (b *browser) get(p *process, path string) (status int, body string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = b.addr
	r.Header.Set("User-Agent", b.agent)
	if b.cookie != "" {
		r.AddCookie(&http.Cookie{Name: session.CookieName, Value: b.cookie})
	}
	w := httptest.NewRecorder()
	p.http.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name == session.CookieName {
			b.cookie = c.Value
		}
	}
	return w.Code, w.Body.String()
}

// want asks and fails the test unless the status is as said.
func (b *browser) want(t testing.TB, p *process, path string, status int) string {
	t.Helper()
	got, body := b.get(p, path)
	if got != status {
		t.Fatalf("%s: status %d, want %d: %s", path, got, status, body)
	}
	return body
}

// loggedIn is a browser with a session.
func loggedIn(t testing.TB, p *process, teacher string) *browser {
	t.Helper()
	b := newBrowser()
	b.want(t, p, "/login/"+teacher, http.StatusOK)
	return b
}

// inRedis says whether Redis has a session's key.
func inRedis(t testing.TB, rdb *redis.Client, id string) bool {
	t.Helper()
	n, err := rdb.Exists(context.Background(), sessionKey(t, id)).Result()
	must(t, err)
	return n == 1
}

func sessionKey(t testing.TB, id string) string {
	t.Helper()
	name, err := keys.SecureSession(id)
	must(t, err)
	return name
}

func setKey(t testing.TB, teacher string) string {
	t.Helper()
	name, err := keys.TeacherSessions(teacher)
	must(t, err)
	return name
}

// members are a teacher's sessions in Redis. Each has its key, or the test fails.
func members(t testing.TB, rdb *redis.Client, teacher string) []string {
	t.Helper()
	ids, err := rdb.SMembers(context.Background(), setKey(t, teacher)).Result()
	must(t, err)
	for _, id := range ids {
		if !inRedis(t, rdb, id) {
			t.Errorf("a member of the set has no session")
		}
	}
	slices.Sort(ids)
	return ids
}

// allSessions are the ids of the sessions that Redis has, whoever's.
func allSessions(t testing.TB, rdb *redis.Client) (ids []string) {
	t.Helper()
	prefix := sessionKey(t, "x")[:len(sessionKey(t, "x"))-1]
	seen := map[string]bool{}
	scan := rdb.Scan(context.Background(), 0, prefix+"*", 1000).Iterator()
	for scan.Next(context.Background()) {
		if id := scan.Val()[len(prefix):]; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	must(t, scan.Err())
	slices.Sort(ids)
	return ids
}

// counter is a counter's value.
func counter(t testing.TB, s *session.Sessions, name, value string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	must(t, registry.Register(s))
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == value {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s with %q", name, value)
	return 0
}

// gate is a Backing that can be away.
type gate struct {
	session.Backing
	down, hung atomic.Bool
	calls      atomic.Int64

	mu     sync.Mutex
	before func(op string) // runs before a step
}

var errDown = errors.New("the database is down")

func (g *gate) pass(ctx context.Context, op string) error {
	g.calls.Add(1)
	g.mu.Lock()
	before := g.before
	g.mu.Unlock()
	if before != nil {
		before(op)
	}
	if g.hung.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if g.down.Load() {
		return errDown
	}
	return nil
}

func (g *gate) hook(before func(op string)) {
	g.mu.Lock()
	g.before = before
	g.mu.Unlock()
}

func (g *gate) SaveSession(ctx context.Context, r session.Record, limit session.Limit) (session.Saved, error) {
	if err := g.pass(ctx, "save"); err != nil {
		return session.Saved{}, err
	}
	return g.Backing.SaveSession(ctx, r, limit)
}

func (g *gate) FindSession(ctx context.Context, hash string) (session.Record, bool, error) {
	if err := g.pass(ctx, "find"); err != nil {
		return session.Record{}, false, err
	}
	return g.Backing.FindSession(ctx, hash)
}

func (g *gate) RevokeSessions(ctx context.Context, hashes []string, at time.Time) ([]session.Record, error) {
	if err := g.pass(ctx, "revoke"); err != nil {
		return nil, err
	}
	return g.Backing.RevokeSessions(ctx, hashes, at)
}

func (g *gate) RevokeTeacher(ctx context.Context, teacher string, at time.Time, upTo int64) ([]session.Record, int64, error) {
	if err := g.pass(ctx, "revoke teacher"); err != nil {
		return nil, 0, err
	}
	return g.Backing.RevokeTeacher(ctx, teacher, at, upTo)
}

func (g *gate) TouchSessions(ctx context.Context, touches []session.Touch) error {
	if err := g.pass(ctx, "touch"); err != nil {
		return err
	}
	return g.Backing.TouchSessions(ctx, touches)
}

func (g *gate) PendingSessions(ctx context.Context, after string, limit int) ([]session.Record, error) {
	if err := g.pass(ctx, "pending"); err != nil {
		return nil, err
	}
	return g.Backing.PendingSessions(ctx, after, limit)
}

func (g *gate) SettleSessions(ctx context.Context, settled []session.Settled) ([]string, error) {
	if err := g.pass(ctx, "settle"); err != nil {
		return nil, err
	}
	return g.Backing.SettleSessions(ctx, settled)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
