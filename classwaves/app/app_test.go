package app

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// config is a server on a real Redis and a database in a file.
func config(t *testing.T, redis *redistest.Server) Config {
	t.Helper()
	keys, err := NewSessionKeys()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Environment: "test", Listen: "127.0.0.1:0", Redis: redis.URL(), Database: databasetest.SQLite(t), SessionKeys: keys}
}

func start(t *testing.T, c Config) *App {
	t.Helper()
	a, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(data)
}

func post(t *testing.T, url, body string) (status int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}

const login = `{"email":"ada@example.org","password":"correct horse battery"}`

// TestEverythingEmbedded: the zero value but for its environment is a whole server, which ends with
// everything that it opened: goroutines that stay fail this test binary.
func TestEverythingEmbedded(t *testing.T) {
	a := start(t, Config{Environment: "test", Listen: "127.0.0.1:0"})
	if err := a.AddTeacher(t.Context(), "ada@example.org", "Ada", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	if status := post(t, a.URL()+"/api/v1/login", login); status != http.StatusOK {
		t.Errorf("login: %d", status)
	}
	if status, body := get(t, a.URL()+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	for range 2 { // the second one finds nothing left to close
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL(), "http://")); err == nil {
		t.Error("it listens after its end")
		_ = conn.Close()
	}
}

// TestStudentsStayWhenTheKeysRotate: a new session key goes in front of the ring, and who joined a class session
// before is heard in it still, as teachers stay logged in. Without the old key a student's cookie is nobody's.
func TestStudentsStayWhenTheKeysRotate(t *testing.T) {
	c := config(t, redistest.Shared(t))
	a := start(t, c)
	if err := a.AddTeacher(t.Context(), "ada@example.org", "Ada", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	teacher, student := newVisitor(t), newVisitor(t)
	var who struct{ CSRFToken string }
	teacher.post(a.URL()+"/api/v1/login", "", login, &who)
	var class struct{ ID, AccessCode string }
	teacher.post(a.URL()+"/api/v1/sessions", who.CSRFToken, `{"title":"History"}`, &class)
	student.post(a.URL()+"/api/v1/join", "", `{"code":"`+class.AccessCode+`","name":"Kim"}`, nil)

	key, err := session.ParseKey("new:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	rotated, replaced := c, c
	rotated.SessionKeys, replaced.SessionKeys = append([]session.Key{key}, c.SessionKeys...), []session.Key{key}
	b, d := start(t, rotated), start(t, replaced)
	for _, s := range []struct {
		name   string
		who    *visitor
		on     *App
		status int
	}{
		{"a student, the old key", student, a, http.StatusSwitchingProtocols},
		{"the teacher, a new key in front", teacher, b, http.StatusSwitchingProtocols},
		{"a student, a new key in front", student, b, http.StatusSwitchingProtocols},
		{"a student, the new key alone", student, d, http.StatusUnauthorized},
	} {
		if got := s.who.listen(s.on.URL() + "/api/v1/live/" + class.ID); got != s.status {
			t.Errorf("%s: got %d, want %d", s.name, got, s.status)
		}
	}
}

// visitor is a browser.
type visitor struct {
	t    *testing.T
	http *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// post sends JSON and reads the answer, which must be a good one.
func (v *visitor) post(url, token, body string, into any) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-CSRF-Token", token)
	answer, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= http.StatusMultipleChoices {
		v.t.Fatalf("%s: %d %s, error %v", url, answer.StatusCode, data, err)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			v.t.Fatal(err)
		}
	}
}

// listen opens a WebSocket, and gives the status of the answer.
func (v *visitor) listen(url string) int {
	v.t.Helper()
	conn, answer, err := websocket.Dial(v.t.Context(), url, &websocket.DialOptions{HTTPClient: v.http})
	if answer == nil {
		v.t.Fatal(err)
	}
	if err == nil {
		_ = conn.CloseNow() // nothing was said
	}
	return answer.StatusCode
}

// TestEveryServiceIsWired: the registry that the API shows has the metrics of rekey, of each service and
// of the API, and each rule of the plan counts for one service.
func TestEveryServiceIsWired(t *testing.T) {
	a := start(t, config(t, redistest.Shared(t)))
	get(t, a.URL()+"/healthz") // to have counted something
	_, shown := get(t, a.URL()+"/metrics")
	for _, name := range []string{
		"go_goroutines", "process_start_time_seconds", "rekey_phase", "classwaves_legacy_fallbacks_total",
		"classwaves_accesscode", "classwaves_analytics", "classwaves_csrf", "classwaves_live", "classwaves_query_cache",
		"classwaves_ratelimit", "classwaves_session", "classwaves_http",
	} {
		if !strings.Contains(shown, "\n"+name) {
			t.Errorf("no metric %s...", name)
		}
	}
	p, err := classwaves.Plan("test")
	if err != nil {
		t.Fatal(err)
	}
	services := make(map[string]int)
	for _, rules := range rulesOf {
		for _, rule := range rules {
			services[rule]++
		}
	}
	m := a.CacheMetrics()
	for _, r := range p.Rules {
		if services[r.Name] != 1 {
			t.Errorf("rule %s counts for %d services, want one", r.Name, services[r.Name])
		}
		delete(services, r.Name)
		if m.Phases[r.Name] != phase.Legacy.String() {
			t.Errorf("rule %s is at %q without any word on phases, want legacy", r.Name, m.Phases[r.Name])
		}
	}
	if len(services) != 0 || len(m.LegacyFallbacks) != len(rulesOf) {
		t.Errorf("no rules of the plan: %v; fallbacks of %d services, want %d", services, len(m.LegacyFallbacks), len(rulesOf))
	}
}

// TestFallbacksAreTheirServices: a read that finds its value under the old name is counted for the
// service that read it, in both places where the seed shows it.
func TestFallbacksAreTheirServices(t *testing.T) {
	redis := redistest.Shared(t)
	c := config(t, redis)
	old := start(t, c)
	if err := old.AddTeacher(t.Context(), "ada@example.org", "Ada", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	post(t, old.URL()+"/api/v1/login", login) // the limiter counts the address, under the old name
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	c.Phases = rekey.WithPhases(map[string]phase.Phase{"rate_limits": phase.Move})
	a := start(t, c)
	post(t, a.URL()+"/api/v1/login", login)
	for service, n := range a.CacheMetrics().LegacyFallbacks {
		if (n > 0) != (service == "rate_limiter") {
			t.Errorf("%d fallbacks of %s", n, service)
		}
	}
	if _, shown := get(t, a.URL()+"/metrics"); strings.Contains(shown, `classwaves_legacy_fallbacks_total{service="rate_limiter"} 0`) {
		t.Error("the limiter's fallbacks are not among the metrics")
	}
}

// TestFallbacksOfTheCaches: in dual a read of what only the old name has is counted for the query cache and for
// analytics, each in its own figures too.
func TestFallbacksOfTheCaches(t *testing.T) {
	c := config(t, redistest.Shared(t))
	old := start(t, c)
	ctx := t.Context()
	class(t, old)
	if _, err := old.analytics.Apply(ctx, "c", analytics.Event{Kind: analytics.ParticipantJoined, GroupID: "g"}); err != nil {
		t.Fatal(err)
	}
	entry := querycache.Entry{Type: querycache.SessionDetail, Key: "c", Tags: []string{"class:c"}}
	if err := old.queries.Upsert(ctx, entry, []byte(`"cached"`)); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	dual := make(map[string]phase.Phase)
	for _, service := range []string{"analytics", "query_cache"} {
		for _, rule := range rulesOf[service] {
			dual[rule] = phase.Dual
		}
	}
	c.Phases = rekey.WithPhases(dual)
	a := start(t, c)
	shown := func() (queries, figures uint64) {
		m := a.CacheMetrics()
		queries, figures = m.QueryCache.LegacyFallbacks, m.Analytics.LegacyFallbacks
		if queries != m.LegacyFallbacks["query_cache"] || figures != m.LegacyFallbacks["analytics"] {
			t.Errorf("the services say %d and %d fallbacks, the server %v", queries, figures, m.LegacyFallbacks)
		}
		return queries, figures
	}
	if _, found, err := a.queries.Lookup(ctx, entry); !found || err != nil {
		t.Fatalf("the cached query: found %v, %v", found, err)
	}
	if queries, figures := shown(); queries == 0 || figures != 0 {
		t.Errorf("after a read of the query cache: %d fallbacks of it, %d of analytics", queries, figures)
	}
	if m, found, err := a.analytics.Session(ctx, "c"); m.Participants != 1 || !found || err != nil {
		t.Fatalf("the figures: %+v, found %v, %v", m, found, err)
	}
	if _, figures := shown(); figures == 0 {
		t.Error("after a read of analytics: no fallback of it")
	}
}

// class makes class session c with group g.
func class(t *testing.T, a *App) {
	t.Helper()
	ctx := t.Context()
	if err := a.AddTeacher(ctx, "ada@example.org", "Ada", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	ada, _, err := a.database.TeacherByEmail(ctx, "ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.database.CreateClassSession(ctx, database.ClassSession{ID: "c", TeacherID: ada.ID, Title: "History", State: database.Active, CreatedAt: time.Now()},
		database.Group{ID: "g", SessionID: "c", Name: "All"}); err != nil {
		t.Fatal(err)
	}
}

// flags are an environment that changes.
type flags struct {
	mu     sync.Mutex
	values map[string]string
}

func (f *flags) set(values map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values = values
}

func (f *flags) lookup(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.values[name]
	return v, ok
}

// TestReload: flags that changed are obeyed, those that say nothing change nothing, and a server whose
// phases come from elsewhere has nothing to read.
func TestReload(t *testing.T) {
	f := new(flags)
	c := config(t, redistest.Shared(t))
	c.Phases = rekey.WithFlags(f.lookup)
	a := start(t, c)
	at := func(want phase.Phase) {
		t.Helper()
		redistest.WaitFor(t, 30*time.Second, func() bool { return a.CacheMetrics().Phases["secure_sessions"] == want.String() })
	}
	at(phase.Legacy)
	f.set(map[string]string{phase.CachePrefixEnabled: "0", phase.CacheDualWrite: "1"})
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	at(phase.Guard)
	f.set(map[string]string{phase.CachePrefixEnabled: "perhaps", phase.CacheDualWrite: "1"})
	if err := a.Reload(t.Context()); err == nil {
		t.Error("flags that say nothing were obeyed")
	}
	at(phase.Guard)

	c.Phases = nil
	if err := start(t, c).Reload(t.Context()); err != nil {
		t.Errorf("without flags: %v", err)
	}
}

// TestRedisIsAwayAtTheStart: the server starts, and is whole when Redis comes.
func TestRedisIsAwayAtTheStart(t *testing.T) {
	redis := redistest.Start(t)
	redis.Kill()
	a := start(t, config(t, redis))
	ready := func(want string) {
		t.Helper()
		redistest.WaitFor(t, time.Minute, func() bool {
			status, body := get(t, a.URL()+"/readyz")
			return status == http.StatusOK && strings.Contains(body, want)
		})
	}
	ready(`"redis":"unavailable"`)
	redis.Restart()
	ready(`"status":"ok"`)
}

// TestStartRefuses: what cannot be served says why, without what is secret, and leaves nothing open.
func TestStartRefuses(t *testing.T) {
	redis := redistest.Shared(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no environment", func(c *Config) { c.Environment = "" }, "no environment"},
		{"an environment that no name can hold", func(c *Config) { c.Environment = "a:b" }, "a:b"},
		{"no session keys beside a Redis", func(c *Config) { c.SessionKeys, c.Database = nil, "" }, ErrNoSessionKeys.Error()},
		{"no session keys beside a database", func(c *Config) { c.SessionKeys, c.Redis = nil, "" }, ErrNoSessionKeys.Error()},
		{"a URL that is none of Redis", func(c *Config) { c.Redis = "http://user:hunter2@127.0.0.1" }, "redis://"},
		{"phases that are none of the plan", func(c *Config) { c.Phases = rekey.WithPhases(map[string]phase.Phase{"nothing": phase.Dual}) }, "nothing"},
		{"a database that is none", func(c *Config) { c.Database = "mysql://user:hunter2@127.0.0.1/x" }, "sqlite:"},
		{"a database in no directory", func(c *Config) { c.Database = "sqlite:" + filepath.Join(t.TempDir(), "no", "x.db") }, "directory"},
		{"an origin that is none", func(c *Config) { c.TrustedOrigins = []string{"no origin"} }, "origin"},
		{"an address that is taken", func(c *Config) { c.Listen = taken.Addr().String() }, "in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config(t, redis)
			tt.change(&c)
			a, err := Start(t.Context(), c)
			if err == nil {
				t.Fatal("it started", a.Close())
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "hunter2") {
				t.Errorf("got %q, want %q and no password in it", text, tt.want)
			}
		})
	}
}

// TestAPartThatEndsIsTold: the server does not go on as a half without anybody's notice.
func TestAPartThatEndsIsTold(t *testing.T) {
	a, err := Start(t.Context(), config(t, redistest.Shared(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.listener.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-a.Failed():
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was told that the server accepts nothing any more")
	}
	if err := a.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // of the listener, which is closed
		t.Errorf("close: %v", err)
	}
}

// TestWhatIsNotStoredAtTheEndIsSaid: the database is away when the server is stopped, so what was counted last
// is in the cache alone. Nobody reads Failed any more by then.
func TestWhatIsNotStoredAtTheEndIsSaid(t *testing.T) {
	a, err := Start(t.Context(), config(t, redistest.Shared(t)))
	if err != nil {
		t.Fatal(err)
	}
	class(t, a)
	if _, err := a.analytics.Apply(t.Context(), "c", analytics.Event{Kind: analytics.ParticipantJoined, GroupID: "g"}); err != nil {
		t.Fatal(err)
	}
	if err := a.database.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err == nil || !strings.Contains(err.Error(), "session analytics: unavailable") {
		t.Errorf("close: got %v", err)
	}
}

// TestARequestIsNotWaitedForWithoutEnd: Close cuts off what does not end in its time, and says so.
func TestARequestIsNotWaitedForWithoutEnd(t *testing.T) {
	redis := redistest.Shared(t)
	c := config(t, redis)
	c.ShutdownTimeout = 50 * time.Millisecond
	a, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The limits count it before its body is waited for.
	client := redis.Client()
	counter, err := keys.RateLimit("auth", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 30*time.Second, func() bool { return client.Exists(t.Context(), counter).Val() == 1 })
	if err := a.Close(); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v", err)
	}
}
