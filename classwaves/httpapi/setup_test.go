package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/classwaves/httpapi"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const secret = "correct horse battery"

// server is a running ClassWaves with two teachers.
type server struct {
	*app.App
	redis *redistest.Server
	log   *logBuffer
}

// generous limits, for tests that are not about them.
func generous() httpapi.Limits {
	limit := func(name string) ratelimit.Limit {
		return ratelimit.Limit{Name: name, Points: 100_000, Window: time.Minute, Block: time.Minute}
	}
	return httpapi.Limits{General: limit("general"), Auth: limit("auth"), Write: limit("write"), Join: limit("join")}
}

func start(t *testing.T, change ...func(*app.Config)) *server {
	t.Helper()
	return startOn(t, redistest.Start(t), change...)
}

func startOn(t *testing.T, redis *redistest.Server, change ...func(*app.Config)) *server {
	t.Helper()
	s := &server{redis: redis, log: new(logBuffer)}
	key, err := session.ParseKey("test:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	c := app.Config{
		Environment: "test", Listen: "127.0.0.1:0", Redis: s.redis.URL(), SessionKeys: []session.Key{key},
		Limits: generous(), Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	if s.App, err = app.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, who := range []string{"ada", "bob"} {
		if err := s.AddTeacher(t.Context(), who+"@example.org", who, secret); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// browser is a client with cookies, and the CSRF token of its login.
type browser struct {
	t     *testing.T
	s     *server
	http  *http.Client
	token string
	// sees is shown every answer with its body.
	sees func(*http.Request, *http.Response, []byte)
}

func (s *server) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, s: s, http: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// into reads the body.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// code is the error's code, empty if it is none.
func (a answer) code() string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal(a.body, &e) // not JSON: no code
	return e.Error.Code
}

// do sends a request; body nil sends none. Changes are made to it first.
func (b *browser) do(method, path string, body any, change ...func(*http.Request)) answer {
	b.t.Helper()
	var r io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.s.URL()+path, r)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if b.token != "" {
		req.Header.Set("X-CSRF-Token", b.token)
	}
	for _, f := range change {
		f(req)
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.sees != nil {
		b.sees(req, res, read)
	}
	return answer{res.StatusCode, res.Header, read}
}

// want is do with a status.
func (b *browser) want(status int, method, path string, body any, change ...func(*http.Request)) answer {
	b.t.Helper()
	a := b.do(method, path, body, change...)
	if a.status != status {
		b.t.Fatalf("%s %s: got %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// login logs a teacher in.
func (b *browser) login(who string) *browser {
	b.t.Helper()
	var out struct{ CSRFToken string }
	b.want(http.StatusOK, "POST", "/api/v1/login", map[string]string{"email": who + "@example.org", "password": secret}).into(b.t, &out)
	if len(out.CSRFToken) != 64 {
		b.t.Fatalf("a CSRF token of %d characters", len(out.CSRFToken))
	}
	b.token = out.CSRFToken
	return b
}

// cookie is that of the login.
func (b *browser) cookie() string {
	b.t.Helper()
	u, err := url.Parse(b.s.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == "cw_session" {
			return c.Value
		}
	}
	b.t.Fatal("no login")
	return ""
}

// class is a class session as tests look at it.
type class struct {
	ID, State, AccessCode string
	Groups                []struct{ ID, Name string }
}

func (b *browser) create(title string, groups ...string) (c class) {
	b.t.Helper()
	b.want(http.StatusCreated, "POST", "/api/v1/sessions", map[string]any{"title": title, "groups": groups}).into(b.t, &c)
	return c
}

// path fills a route's pattern.
func path(pattern, session string) string { return strings.ReplaceAll(pattern, "{session}", session) }
