package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestLoginAndLogout(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	var ended []string
	p := start(t, rdb, session.NewMemory(), func(c *session.Config) {
		c.Ended = func(_ ctx, ids []string) { ended = append(ended, ids...) }
	})
	b := newBrowser()
	b.want(t, p, "/me", http.StatusUnauthorized)
	id := b.want(t, p, "/login/anna", http.StatusOK)
	if b.cookie != id || len(id) != 43 {
		t.Fatalf("the cookie is not the session's id of 43 characters")
	}
	if got := b.want(t, p, "/me", http.StatusOK); got != "anna" {
		t.Errorf("logged in as %q", got)
	}
	if !slices.Equal(members(t, rdb, "anna"), []string{id}) {
		t.Error("the session is not in its teacher's set")
	}
	if life := rdb.TTL(t.Context(), sessionKey(t, id)).Val(); life < 86390*time.Second || life > 86400*time.Second {
		t.Errorf("the session lives %v in Redis, want a day", life)
	}
	stolen := b.copy()
	b.want(t, p, "/logout", http.StatusOK)
	if b.cookie != "" || inRedis(t, rdb, id) || len(members(t, rdb, "anna")) != 0 {
		t.Error("something is left of the session")
	}
	if !slices.Equal(ended, []string{id}) {
		t.Errorf("%d sessions reported as ended, want this one", len(ended))
	}
	stolen.want(t, p, "/me", http.StatusUnauthorized)
	b.want(t, p, "/logout", http.StatusOK) // nothing to do
}

func TestCookie(t *testing.T) {
	for _, secure := range []bool{false, true} {
		p := start(t, redistest.Shared(t).Client(), session.NewMemory(), func(c *session.Config) { c.Secure = secure })
		w := httptest.NewRecorder()
		p.http.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login/anna", nil))
		cookies := w.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%d cookies", len(cookies))
		}
		c := cookies[0]
		if c.Name != "cw_session" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != secure {
			t.Errorf("secure %v: cookie %v", secure, strings.Replace(c.String(), c.Value, "...", 1))
		}
		if c.MaxAge < 86390 || c.MaxAge > 86402 {
			t.Errorf("the cookie lives %d s", c.MaxAge)
		}
	}
}

// TestLoginAgain: whoever logs in again with a session has one session, under another id.
func TestLoginAgain(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory())
	b := loggedIn(t, p, "anna")
	before := b.copy()
	b.want(t, p, "/login/anna", http.StatusOK)
	if b.cookie == before.cookie {
		t.Fatal("the id is the one of before the login")
	}
	before.want(t, p, "/me", http.StatusUnauthorized)
	if got := members(t, rdb, "anna"); !slices.Equal(got, []string{b.cookie}) {
		t.Errorf("%d sessions, want 1", len(got))
	}
	thief := b.copy()
	thief.agent = "Thief/1"
	thief.want(t, p, "/login/mallory", http.StatusOK)
	b.want(t, p, "/me", http.StatusOK) // a login with a stolen cookie does not end the owner's session
}

// TestResponsesPassUntouched: handlers see the server's own writer, so streams and upgrades work.
func TestResponsesPassUntouched(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), session.NewMemory())
	w := httptest.NewRecorder()
	p.sessions.Middleware(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
		if got != http.ResponseWriter(w) {
			t.Errorf("the handler has a %T", got)
		}
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	server := httptest.NewServer(p.sessions.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
		_ = conn.Close()
	})))
	defer server.Close()
	r, err := http.NewRequest(http.MethodGet, server.URL, nil)
	must(t, err)
	response, err := server.Client().Do(r)
	must(t, err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("status %d", response.StatusCode)
	}
	server.Client().CloseIdleConnections()
}

func TestLimits(t *testing.T) {
	var now clock
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory(), func(c *session.Config) { c.Now = now.now })

	idle := loggedIn(t, p, "idle")
	now.forward(4*time.Hour - time.Second)
	idle.want(t, p, "/me", http.StatusOK)
	now.forward(4*time.Hour - time.Second)
	idle.want(t, p, "/me", http.StatusOK)
	now.forward(4 * time.Hour)
	idle.want(t, p, "/me", http.StatusUnauthorized)
	if got := counter(t, p.sessions, "classwaves_session_refused_total", "idle"); got != 1 {
		t.Errorf("%v idle sessions counted", got)
	}

	busy := loggedIn(t, p, "busy")
	for range 23 {
		now.forward(time.Hour)
		busy.want(t, p, "/me", http.StatusOK)
	}
	now.forward(time.Hour - time.Second)
	busy.want(t, p, "/me", http.StatusOK)
	now.forward(time.Second)
	busy.want(t, p, "/me", http.StatusUnauthorized)
	if got := counter(t, p.sessions, "classwaves_session_refused_total", "absolute"); got != 1 {
		t.Errorf("%v expired sessions counted", got)
	}
}

// TestLimitsInTheDatabase: the same limits hold while the database answers.
func TestLimitsInTheDatabase(t *testing.T) {
	var now clock
	server := redistest.Start(t)
	p := start(t, server.Client(impatient), session.NewMemory(), func(c *session.Config) { c.Now = now.now })
	b, other := loggedIn(t, p, "anna"), loggedIn(t, p, "anna")
	server.Kill()
	for range 7 {
		now.forward(3 * time.Hour)
		b.want(t, p, "/me", http.StatusOK)
		must(t, p.sessions.Flush(t.Context()))
	}
	other.want(t, p, "/me", http.StatusUnauthorized) // idle for 21 hours
	now.forward(3 * time.Hour)
	b.want(t, p, "/me", http.StatusUnauthorized)
}

func TestFingerprint(t *testing.T) {
	backing := session.NewMemory()
	p := start(t, redistest.Shared(t).Client(), backing)
	for _, tt := range []struct {
		name        string
		login, then string // addresses
		agent       string
		status      int
	}{
		{"the same", "192.0.2.7:1", "192.0.2.7:2", "", http.StatusOK},
		{"the same /24", "192.0.2.7:1", "192.0.2.250:1", "", http.StatusOK},
		{"another /24", "192.0.2.7:1", "192.0.3.7:1", "", http.StatusUnauthorized},
		{"the same as IPv4 in IPv6", "192.0.2.7:1", "[::ffff:192.0.2.9]:1", "", http.StatusOK},
		{"the same /48", "[2001:db8:1:2::3]:1", "[2001:db8:1:ffff::9]:1", "", http.StatusOK},
		{"another /48", "[2001:db8:1:2::3]:1", "[2001:db8:2:2::3]:1", "", http.StatusUnauthorized},
		{"another agent", "192.0.2.7:1", "192.0.2.7:1", "Other/1", http.StatusUnauthorized},
		{"all of it another", "192.0.2.7:1", "[2001:db8::1]:1", "Other/1", http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			owner := newBrowser()
			owner.addr = tt.login
			owner.want(t, p, "/login/anna", http.StatusOK)
			thief := owner.copy()
			thief.addr = tt.then
			if tt.agent != "" {
				thief.agent = tt.agent
			}
			thief.want(t, p, "/me", tt.status)
			must(t, p.sessions.Flush(t.Context()))
			recorded, found, err := backing.SessionMismatches(t.Context(), session.HashID(owner.cookie))
			must(t, err)
			if found != (tt.status != http.StatusOK) || found && (recorded.Count != 1 || recorded.Agent != (tt.agent != "")) {
				t.Errorf("recorded %v: %+v", found, recorded)
			}
			if tt.status != http.StatusOK {
				thief.want(t, p, "/logout", http.StatusUnauthorized)
			}
			owner.want(t, p, "/me", http.StatusOK)
		})
	}
}

// TestOldRelease: a session of the release before is absent and stays where it is. It counts among its
// teacher's, and goes before any of ours.
func TestOldRelease(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory())
	const old = "0123456789abcdef0123456789abcdef"
	must(t, rdb.Set(t.Context(), sessionKey(t, old), `{"iv":"00","data":"ff","tag":"aa"}`, time.Hour).Err())
	must(t, rdb.SAdd(t.Context(), setKey(t, "anna"), old, "gone", "not:ours").Err())
	b := newBrowser()
	b.cookie = old
	b.want(t, p, "/me", http.StatusUnauthorized)
	if got := counter(t, p.sessions, "classwaves_session_integrity_failures_total", "format"); got != 1 {
		t.Errorf("counted %v times as format", got)
	}
	for range 2 {
		loggedIn(t, p, "anna")
	}
	if !inRedis(t, rdb, old) {
		t.Fatal("it was removed though there was room")
	}
	if rdb.SIsMember(t.Context(), setKey(t, "anna"), "gone").Val() {
		t.Error("a member without a session stays in the set")
	}
	loggedIn(t, p, "anna")
	if inRedis(t, rdb, old) || len(allSessions(t, rdb)) != 3 {
		t.Errorf("%d sessions, want the three of ours", len(allSessions(t, rdb)))
	}
	must(t, rdb.Set(t.Context(), sessionKey(t, old), "of the old release", time.Hour).Err())
	must(t, rdb.SAdd(t.Context(), setKey(t, "anna"), old).Err())
	if n, err := p.sessions.LogoutEverywhere(t.Context(), "anna"); n != 4 || err != nil {
		t.Errorf("%d sessions ended, error %v; want 4", n, err)
	}
	if left := allSessions(t, rdb); len(left) != 0 {
		t.Errorf("%d sessions are left", len(left))
	}
}

func TestIdentifiersThatNoKeyCanHold(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), session.NewMemory())
	b := newBrowser()
	for _, id := range []string{"a:b", strings.Repeat("x", 513)} {
		b.cookie = id
		b.want(t, p, "/me", http.StatusUnauthorized)
		b.want(t, p, "/logout", http.StatusOK)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	p.sessions.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := p.sessions.Login(r, "a:b"); !isInvalid(err) {
			t.Errorf("login: %v", err)
		}
		if _, err := p.sessions.LogoutEverywhere(r.Context(), ""); !isInvalid(err) {
			t.Errorf("log-out everywhere: %v", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if _, err := p.sessions.Authenticate(t.Context()); !errors.Is(err, session.ErrMiddleware) {
		t.Errorf("without the middleware: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	good := func() session.Config {
		return session.Config{Redis: rdb, Backing: session.NewMemory(), Keys: []session.Key{key(t, "k1")}}
	}
	for name, change := range map[string]func(*session.Config){
		"no redis":               func(c *session.Config) { c.Redis = nil },
		"no database":            func(c *session.Config) { c.Backing = nil },
		"no key":                 func(c *session.Config) { c.Keys = nil },
		"an empty key":           func(c *session.Config) { c.Keys = []session.Key{{}} },
		"a key twice":            func(c *session.Config) { c.Keys = append(c.Keys, key(t, "k1")) },
		"a negative limit":       func(c *session.Config) { c.IdleLimit = -1 },
		"a negative maximum":     func(c *session.Config) { c.MaxPerTeacher = -1 },
		"refreshing too seldom":  func(c *session.Config) { c.RefreshEvery = 4 * time.Hour },
		"idle longer than Redis": func(c *session.Config) { c.IdleLimit = 23 * time.Hour },
	} {
		cfg := good()
		change(&cfg)
		if _, err := session.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "session: configuration: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := session.New(good()); err != nil {
		t.Error(err)
	}
}

// TestRunAndClose: Run ends with Close, and with its context, and not twice.
func TestRunAndClose(t *testing.T) {
	p := prepare(t, redistest.Shared(t).Client(), session.NewMemory(), func(c *session.Config) { c.Beat = time.Millisecond })
	done := make(chan error, 1)
	go func() { done <- p.sessions.Run(t.Context()) }()
	redistest.WaitFor(t, within, func() bool { return !p.sessions.Suspect() })
	must(t, p.sessions.Close())
	must(t, <-done)
	must(t, p.sessions.Close())
	must(t, p.sessions.Run(t.Context())) // at once
}

func isInvalid(err error) bool {
	_, ok := asInvalid(err)
	return ok
}

func asInvalid(err error) (*keys.InvalidError, bool) {
	return errorAs[*keys.InvalidError](err)
}
