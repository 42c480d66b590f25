package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

// Servers that keep what they have over a crash, and that do not.
var (
	keeps   = redistest.WithConfig("appendonly yes", "appendfsync always")
	forgets = redistest.WithConfig(`save ""`)
)

// sqlite is the database that the server uses by default.
func sqlite(t testing.TB) *gate {
	t.Helper()
	db, err := database.Open(t.Context(), "sqlite::memory:")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return &gate{Backing: db}
}

// impatient are options of a client that tries everything once, so that it is known at once that its server was killed.
func impatient(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

// trusts beats until a process trusts Redis.
func trusts(t testing.TB, processes ...*process) {
	t.Helper()
	for _, p := range processes {
		redistest.WaitFor(t, within, func() bool {
			p.sessions.Beat(t.Context())
			return !p.sessions.Suspect()
		})
	}
}

// TestKeysOfAnotherType: a name of ours under which somebody left a key of another type is no outage. It is
// overwritten, and nobody's login or log-out waits for it.
func TestKeysOfAnotherType(t *testing.T) {
	for name, spoil := range map[string]func(session, set string) string{
		"the session": func(session, _ string) string { return session },
		"the set":     func(_, set string) string { return set },
	} {
		t.Run(name, func(t *testing.T) {
			rdb := redistest.Shared(t).Client()
			p := start(t, rdb, session.NewMemory())
			b := loggedIn(t, p, "anna")
			spoilt := spoil(sessionKey(t, b.cookie), setKey(t, "anna"))
			spoilIt := func() {
				t.Helper()
				must(t, rdb.Del(t.Context(), spoilt).Err())
				must(t, rdb.ZAdd(t.Context(), spoilt, redis.Z{Member: "x"}).Err())
			}
			whole := func(when string, with *browser) {
				t.Helper()
				p.sessions.Beat(t.Context())
				if p.sessions.Suspect() {
					t.Errorf("%s: Redis is not trusted", when)
				}
				if !slices.Contains(members(t, rdb, "anna"), with.cookie) {
					t.Errorf("%s: the set lacks the new session", when)
				}
			}
			spoilIt()
			b.want(t, p, "/me", http.StatusOK)
			other := loggedIn(t, p, "anna")
			whole("login", other)

			spoilIt()
			other.want(t, p, "/logout", http.StatusOK)
			other.want(t, p, "/me", http.StatusUnauthorized)
			b.want(t, p, "/me", http.StatusOK)
			p.sessions.Beat(t.Context())
			if p.sessions.Suspect() {
				t.Error("log-out: Redis is not trusted")
			}

			spoilIt()
			b.want(t, p, "/everywhere/anna", http.StatusOK)
			b.want(t, p, "/me", http.StatusUnauthorized)
			if left := allSessions(t, rdb); len(left) != 0 {
				t.Errorf("log-out everywhere leaves %d sessions", len(left))
			}
			whole("login afterwards", loggedIn(t, p, "anna"))
		})
	}
}

// TestRedisKilled walks through an outage of Redis: it is killed, sessions are found, made and ended
// without it, and it comes back, with its data or without. Another process sits idle all the time.
func TestRedisKilled(t *testing.T) {
	for name, config := range map[string]redistest.Option{"with its data": keeps, "empty": forgets} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, config)
			backing := sqlite(t)
			busy, idle := start(t, server.Client(impatient), backing), start(t, server.Client(impatient), backing)
			stays, out, unused := loggedIn(t, busy, "stays"), loggedIn(t, busy, "out"), loggedIn(t, busy, "unused")
			everywhere := []*browser{loggedIn(t, busy, "everywhere"), loggedIn(t, idle, "everywhere")}
			full := []*browser{loggedIn(t, busy, "full"), loggedIn(t, busy, "full"), loggedIn(t, busy, "full")}

			server.Kill()
			stays.want(t, busy, "/me", http.StatusOK)
			if !busy.sessions.Suspect() {
				t.Fatal("a process that saw Redis fail is not suspect")
			}
			newBrowser().want(t, busy, "/me", http.StatusUnauthorized)
			stranger := newBrowser()
			stranger.cookie = strings.Repeat("A", 43)
			stranger.want(t, busy, "/me", http.StatusUnauthorized)
			made := loggedIn(t, busy, "made")
			made.want(t, busy, "/me", http.StatusOK)
			made.want(t, idle, "/me", http.StatusOK)
			full = append(full, loggedIn(t, busy, "full"))
			full[0].want(t, busy, "/me", http.StatusUnauthorized)
			outCopy := out.copy()
			out.want(t, busy, "/logout", http.StatusOK)
			outCopy.want(t, busy, "/me", http.StatusUnauthorized)
			if n := newBrowser().want(t, busy, "/everywhere/everywhere", http.StatusOK); n != "2" {
				t.Errorf("%s sessions ended, want 2", n)
			}

			server.Restart()
			ended := []*browser{outCopy, everywhere[0], everywhere[1], full[0]}
			alive := []*browser{stays, made, unused, full[1], full[2], full[3]}
			check := func(when string) {
				for _, p := range []*process{busy, idle} {
					for i, b := range ended {
						if status, body := b.copy().get(p, "/me"); status != http.StatusUnauthorized {
							t.Errorf("%s: ended session %d: status %d: %s", when, i, status, body)
						}
					}
					for i, b := range alive {
						if status, body := b.copy().get(p, "/me"); status != http.StatusOK {
							t.Errorf("%s: living session %d: status %d: %s", when, i, status, body)
						}
					}
				}
			}
			idle.sessions.Beat(t.Context()) // what a second brings
			check("before Redis was told all")
			trusts(t, busy, idle)
			check("afterwards")
			calls := backing.calls.Load()
			check("from Redis alone")
			if backing.calls.Load() != calls {
				t.Error("a trusting process asks the database")
			}
			var want []string
			for _, b := range alive {
				want = append(want, b.cookie)
			}
			slices.Sort(want)
			if got := allSessions(t, busy.rdb); !slices.Equal(got, want) {
				t.Errorf("%d sessions in Redis, want %d", len(got), len(want))
			}
			if n := len(members(t, busy.rdb, "full")); n != 3 {
				t.Errorf("%d members, want 3", n)
			}
		})
	}
}

// TestOldSnapshot: a server that comes back with what it had some time ago has sessions that were
// ended since. They stay ended.
func TestOldSnapshot(t *testing.T) {
	server := redistest.Start(t, forgets)
	backing := sqlite(t)
	p := start(t, server.Client(impatient), backing)
	out, stays := loggedIn(t, p, "out"), loggedIn(t, p, "stays")
	must(t, p.rdb.Save(t.Context()).Err())
	outCopy := out.copy()
	out.want(t, p, "/logout", http.StatusOK)
	later := loggedIn(t, p, "later")
	redistest.WaitFor(t, within, func() bool {
		p.sessions.Beat(t.Context())
		pending, err := backing.PendingSessions(t.Context(), "", 1)
		return err == nil && len(pending) == 0
	})
	server.Kill()
	server.Restart()
	if !inRedis(t, server.Client(), outCopy.cookie) {
		t.Fatal("the snapshot does not have the session: the test shows nothing")
	}
	trusts(t, p)
	outCopy.want(t, p, "/me", http.StatusUnauthorized)
	if inRedis(t, p.rdb, outCopy.cookie) {
		t.Error("the ended session is in Redis")
	}
	stays.want(t, p, "/me", http.StatusOK)
	later.want(t, p, "/me", http.StatusOK)
}

// TestBothDown: nobody is let in, nobody is told that he has no session, and all is well afterwards.
func TestBothDown(t *testing.T) {
	server := redistest.Start(t, keeps)
	backing := sqlite(t)
	p := start(t, server.Client(impatient), backing)
	b, out := loggedIn(t, p, "anna"), loggedIn(t, p, "anna")
	server.Kill()
	backing.down.Store(true)
	stranger := newBrowser()
	stranger.cookie = strings.Repeat("A", 43)
	for _, who := range []*browser{b, stranger} {
		who.want(t, p, "/me", http.StatusServiceUnavailable)
	}
	newBrowser().want(t, p, "/login/anna", http.StatusServiceUnavailable)
	out.want(t, p, "/logout", http.StatusServiceUnavailable)
	newBrowser().want(t, p, "/everywhere/anna", http.StatusServiceUnavailable)
	newBrowser().want(t, p, "/me", http.StatusUnauthorized) // has no cookie at all

	// Redis alone is back: this process cannot know yet what Redis missed.
	server.Restart()
	b.want(t, p, "/me", http.StatusServiceUnavailable)
	backing.down.Store(false)
	trusts(t, p)
	again := loggedIn(t, p, "anna")
	again.want(t, p, "/me", http.StatusOK)
	b.want(t, p, "/me", http.StatusUnauthorized) // ended by the log-out everywhere, which was told later
	out.want(t, p, "/me", http.StatusUnauthorized)
}

// TestDatabaseDown: requests do not notice. A login is refused. A log-out ends the session in
// Redis, says that it is not all, and is told to the database when that is back.
func TestDatabaseDown(t *testing.T) {
	server := redistest.Start(t, keeps)
	backing := sqlite(t)
	p := start(t, server.Client(impatient), backing)
	b, out := loggedIn(t, p, "anna"), loggedIn(t, p, "anna")
	backing.down.Store(true)
	b.want(t, p, "/me", http.StatusOK)
	newBrowser().want(t, p, "/login/anna", http.StatusServiceUnavailable)
	outCopy := out.copy()
	out.want(t, p, "/logout", http.StatusServiceUnavailable)
	if out.cookie == "" {
		t.Error("the cookie was taken back: the client cannot try again")
	}
	out.want(t, p, "/me", http.StatusUnauthorized)
	backing.down.Store(false)
	redistest.WaitFor(t, within, func() bool {
		p.sessions.Beat(t.Context())
		r, _, err := backing.FindSession(t.Context(), session.HashID(outCopy.cookie))
		return err == nil && r.Revoked()
	})
	server.Kill()
	outCopy.want(t, p, "/me", http.StatusUnauthorized) // the database answers
	b.want(t, p, "/me", http.StatusOK)
}

// TestLogoutAgainAfterTheDatabaseIsBack: the second try tells the database.
func TestLogoutAgainAfterTheDatabaseIsBack(t *testing.T) {
	backing := sqlite(t)
	p := start(t, redistest.Shared(t).Client(), backing)
	b := loggedIn(t, p, "anna")
	id := b.cookie
	backing.down.Store(true)
	b.want(t, p, "/logout", http.StatusServiceUnavailable)
	backing.down.Store(false)
	b.want(t, p, "/logout", http.StatusOK)
	if r, _, err := backing.FindSession(t.Context(), session.HashID(id)); err != nil || !r.Revoked() {
		t.Errorf("alive in the database, error %v", err)
	}
}

// TestDatabaseHangs: a request waits for its time, not for the database. After some of them it does not wait.
func TestDatabaseHangs(t *testing.T) {
	server := redistest.Start(t)
	backing := sqlite(t)
	p := start(t, server.Client(impatient), backing, func(c *session.Config) { c.DatabaseTimeout = 20 * time.Millisecond })
	b := loggedIn(t, p, "anna")
	server.Kill()
	backing.hung.Store(true)
	calls := backing.calls.Load()
	const requests = 20
	for range requests {
		b.want(t, p, "/me", http.StatusServiceUnavailable)
	}
	if asked := backing.calls.Load() - calls; asked >= requests {
		t.Errorf("the database was asked %d times in %d requests: the circuit breaker is closed", asked, requests)
	}
	backing.hung.Store(false)
	redistest.WaitFor(t, within, func() bool {
		status, _ := b.get(p, "/me")
		return status == http.StatusOK
	})
}

// TestRedisHangs: a server that does not answer is an outage like any other.
func TestRedisHangs(t *testing.T) {
	server := redistest.Start(t)
	backing := sqlite(t)
	const soon = 200 * time.Millisecond
	client := server.Client(impatient, func(o *redis.Options) { o.DialTimeout, o.ReadTimeout = soon, soon })
	p := start(t, client, backing, func(c *session.Config) { c.CacheTimeout = soon })
	b, out := loggedIn(t, p, "anna"), loggedIn(t, p, "anna")
	server.Pause()
	b.want(t, p, "/me", http.StatusOK)
	outCopy := out.copy()
	out.want(t, p, "/logout", http.StatusOK)
	made := loggedIn(t, p, "made")
	madeOut := loggedIn(t, p, "gone")
	madeOutCopy := madeOut.copy()
	madeOut.want(t, p, "/logout", http.StatusOK)
	server.Continue() // it now reads what was sent to it meanwhile, in any order
	trusts(t, p)
	b.want(t, p, "/me", http.StatusOK)
	made.want(t, p, "/me", http.StatusOK)
	outCopy.want(t, p, "/me", http.StatusUnauthorized)
	madeOutCopy.want(t, p, "/me", http.StatusUnauthorized)
	if inRedis(t, p.rdb, outCopy.cookie) || inRedis(t, p.rdb, madeOutCopy.cookie) {
		t.Error("an ended session is in Redis")
	}
}

// TestPutComesTooLate: a put whose time is over is refused by the server, so nothing brings a
// session back that was ended after the put began. The naive put, without a time limit, does.
func TestPutComesTooLate(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	backing := session.NewMemory()
	p := start(t, rdb, backing)
	b := loggedIn(t, p, "anna")
	record, _, err := backing.FindSession(t.Context(), session.HashID(b.cookie))
	must(t, err)
	began, err := p.sessions.CacheClock(t.Context())
	must(t, err)
	b.copy().want(t, p, "/logout", http.StatusOK)

	if err := p.sessions.Put(t.Context(), b.cookie, record, began.Add(-session.Fence-time.Millisecond)); !errors.Is(err, session.ErrLate) || !unavailable.Is(err) {
		t.Errorf("a put that began too long ago: %v", err)
	}
	if inRedis(t, rdb, b.cookie) {
		t.Fatal("it was run all the same")
	}
	// Within its time it is run, which is why what was ended is cleared again for longer than that.
	must(t, p.sessions.Put(t.Context(), b.cookie, record, began))
	if !inRedis(t, rdb, b.cookie) {
		t.Fatal("a put within its time was refused: the test shows nothing")
	}
	if session.ClearLinger <= session.Fence {
		t.Error("what was ended is not cleared for longer than a put may take")
	}
	trusts(t, p)
	b.want(t, p, "/me", http.StatusUnauthorized)
	if inRedis(t, rdb, b.cookie) {
		t.Error("the session is in Redis")
	}
}

// TestClearLingers: what was ended stays pending until it was cleared some time after it was seen.
func TestClearLingers(t *testing.T) {
	backing := session.NewMemory()
	p := start(t, redistest.Shared(t).Client(), backing)
	p.sessions.SetLinger(time.Hour)
	b := loggedIn(t, p, "anna")
	b.want(t, p, "/logout", http.StatusOK)
	pending := func() int {
		all, err := backing.PendingSessions(t.Context(), "", 10)
		must(t, err)
		return len(all)
	}
	for range 3 {
		p.sessions.Beat(t.Context())
		if pending() != 1 {
			t.Fatal("settled before its time")
		}
	}
	if p.sessions.Suspect() {
		t.Error("a clear that lingers makes a process suspect")
	}
	p.sessions.SetLinger(0)
	p.sessions.Beat(t.Context())
	if pending() != 0 {
		t.Error("not settled after its time")
	}
}

// TestEndedWhileItIsMade: a log-out everywhere comes between the database's part of a login and
// Redis's.
func TestEndedWhileItIsMade(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	backing := &gate{Backing: session.NewMemory()}
	p, other := start(t, rdb, backing), start(t, rdb, backing)
	backing.hook(func(op string) {
		if op == "settle" { // the login has put its session into Redis
			backing.hook(nil)
			if _, err := backing.Backing.RevokeSessions(context.Background(), hashesOf(t, rdb), time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	b := newBrowser()
	b.want(t, p, "/login/anna", http.StatusOK)
	b.want(t, other, "/me", http.StatusUnauthorized)
	if left := allSessions(t, rdb); len(left) != 0 {
		t.Error("the ended session is in Redis")
	}
}

func hashesOf(t testing.TB, rdb *redis.Client) (hashes []string) {
	for _, id := range allSessions(t, rdb) {
		hashes = append(hashes, session.HashID(id))
	}
	return hashes
}

// TestOutagesAreLoggedOnce: at their beginning and their end, without ids.
func TestOutagesAreLoggedOnce(t *testing.T) {
	server := redistest.Start(t, keeps)
	backing := sqlite(t)
	var log bytes.Buffer
	p := start(t, server.Client(impatient), backing, func(c *session.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	b := loggedIn(t, p, "anna")
	id := b.cookie
	for range 2 {
		server.Kill()
		for range 10 {
			b.want(t, p, "/me", http.StatusOK)
		}
		backing.down.Store(true)
		for range 10 {
			b.want(t, p, "/me", http.StatusServiceUnavailable)
		}
		backing.down.Store(false)
		server.Restart()
		trusts(t, p)
	}
	for _, message := range []string{
		"the session cache is unavailable", "the session cache is whole again",
		"the database of sessions is unavailable", "the database of sessions is back",
	} {
		if n := strings.Count(log.String(), message); n != 2 {
			t.Errorf("%q was logged %d times in 2 outages", message, n)
		}
	}
	for _, secret := range []string{id, session.HashID(id), "anna"} {
		if strings.Contains(log.String(), secret) {
			t.Error("an identifier was logged")
		}
	}
}

// TestCallerGoesAway is no outage: nothing becomes suspect, and the answer is not "absent".
func TestCallerGoesAway(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), sqlite(t))
	b := loggedIn(t, p, "anna")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.sessions.Check(gone, session.Session{ID: b.cookie})
	if !unavailable.Is(err) || p.sessions.Suspect() {
		t.Errorf("error %v, suspect %v", err, p.sessions.Suspect())
	}
	must(t, p.sessions.Check(t.Context(), session.Session{ID: b.cookie}))
}

// TestRunSettles is an outage with Run in the place of the test's beats, and the real pauses.
func TestRunSettles(t *testing.T) {
	server := redistest.Start(t, keeps)
	backing := sqlite(t)
	p := prepare(t, server.Client(impatient), backing, func(c *session.Config) { c.Beat = 10 * time.Millisecond })
	p.sessions.SetLinger(session.ClearLinger)
	run, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.sessions.Run(run) }()
	redistest.WaitFor(t, within, func() bool { return !p.sessions.Suspect() })
	out, stays := loggedIn(t, p, "out"), loggedIn(t, p, "stays")
	server.Kill()
	redistest.WaitFor(t, within, p.sessions.Suspect) // by its own ping: nobody has asked
	outCopy := out.copy()
	out.want(t, p, "/logout", http.StatusOK)
	made := loggedIn(t, p, "made")
	server.Restart()
	redistest.WaitFor(t, within, func() bool { return !p.sessions.Suspect() })
	outCopy.want(t, p, "/me", http.StatusUnauthorized)
	made.want(t, p, "/me", http.StatusOK)
	stays.want(t, p, "/me", http.StatusOK)
	redistest.WaitFor(t, within, func() bool {
		pending, err := backing.PendingSessions(t.Context(), "", 1)
		return err == nil && len(pending) == 0
	})
	stop()
	must(t, <-done)
}
