package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

// fast are options of a client that has a connection for everybody.
func fast(o *redis.Options) { o.PoolSize = 64 }

// loginsAtOnce logs one teacher in so many times, spread over processes, and returns the browsers.
func loginsAtOnce(t testing.TB, n int, teacher string, processes ...*process) []*browser {
	t.Helper()
	browsers := make([]*browser, n)
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i := range browsers {
		browsers[i] = newBrowser()
		group.Go(func() {
			<-begin
			if status, body := browsers[i].get(processes[i%len(processes)], "/login/"+teacher); status != http.StatusOK {
				t.Errorf("login %d: status %d: %s", i, status, body)
			}
		})
	}
	close(begin)
	group.Wait()
	return browsers
}

// exactly checks that a teacher has so many sessions, and the same ones in the set, in Redis, in the database
// and for the browsers.
func exactly(t testing.TB, n int, rdb *redis.Client, backing session.Backing, browsers []*browser, teacher string, processes ...*process) {
	t.Helper()
	inSet := members(t, rdb, teacher)
	if keys := allSessions(t, rdb); !slices.Equal(inSet, keys) || len(keys) != n {
		t.Errorf("%d members, %d sessions in Redis; want %d, the same ones", len(inSet), len(keys), n)
	}
	var alive, letIn []string
	for _, b := range browsers {
		r, found, err := backing.FindSession(context.Background(), session.HashID(b.cookie))
		must(t, err)
		if found && !r.Revoked() {
			alive = append(alive, b.cookie)
		}
		in := 0
		for _, p := range processes {
			if status, _ := b.get(p, "/me"); status == http.StatusOK {
				in++
			}
		}
		switch in {
		case 0:
		case len(processes):
			letIn = append(letIn, b.cookie)
		default:
			t.Errorf("%d of %d processes let a session in", in, len(processes))
		}
	}
	slices.Sort(alive)
	slices.Sort(letIn)
	if !slices.Equal(alive, inSet) || !slices.Equal(letIn, inSet) {
		t.Errorf("in Redis %d, alive in the database %d, let in %d; want the same %d", len(inSet), len(alive), len(letIn), n)
	}
}

// TestHundredLogins: a hundred logins of one teacher at once, on two processes, leave three sessions.
func TestHundredLogins(t *testing.T) {
	for name, backing := range map[string]session.Backing{"memory": session.NewMemory(), "SQLite": sqlite(t)} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Shared(t)
			one, two := start(t, server.Client(fast), backing), start(t, server.Client(fast), backing)
			for round := range 5 {
				teacher := fmt.Sprint("teacher", round)
				must(t, one.rdb.FlushDB(t.Context()).Err())
				browsers := loginsAtOnce(t, 100, teacher, one, two)
				exactly(t, 3, one.rdb, backing, browsers, teacher, one, two)
			}
		})
	}
}

// TestHundredNaiveLogins: looking at the set first and adding afterwards, as the old release does,
// leaves as many sessions as logins that looked before another had added.
func TestHundredNaiveLogins(t *testing.T) {
	const logins = 100
	rdb := redistest.Shared(t).Client(fast)
	bg := context.Background()
	look := func() (oldest string, full bool, err error) {
		ids, err := rdb.SMembers(bg, setKey(t, "anna")).Result()
		if err != nil || len(ids) < 3 {
			return "", false, err
		}
		return ids[0], true, nil
	}
	add := func(id, oldest string, full bool) error {
		_, err := rdb.TxPipelined(bg, func(p redis.Pipeliner) error {
			if full {
				p.Del(bg, sessionKey(t, oldest))
				p.SRem(bg, setKey(t, "anna"), oldest)
			}
			p.Set(bg, sessionKey(t, id), "x", time.Hour)
			p.SAdd(bg, setKey(t, "anna"), id)
			return nil
		})
		return err
	}
	var group, looked sync.WaitGroup
	looked.Add(logins)
	for i := range logins {
		group.Go(func() {
			oldest, full, err := look()
			looked.Done()
			looked.Wait()
			if err := errors.Join(err, add(fmt.Sprint(i), oldest, full)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(allSessions(t, rdb)); n <= 3 {
		t.Errorf("%d sessions: the naive way keeps the limit, so the test above shows nothing", n)
	} else {
		t.Logf("%d living sessions", n)
	}
}

// TestLogoutAgainstRefresh: however requests and the log-out of one session meet, it stays ended.
func TestLogoutAgainstRefresh(t *testing.T) {
	const rounds, requests = 300, 6
	server := redistest.Shared(t)
	backing := session.NewMemory()
	// Each request stores its activity.
	eager := func(c *session.Config) { c.RefreshEvery = time.Nanosecond }
	one, two := start(t, server.Client(fast), backing, eager), start(t, server.Client(fast), backing, eager)
	late, let := 0, 0
	for range rounds {
		b := loggedIn(t, one, "anna")
		var group sync.WaitGroup
		var mu sync.Mutex
		begin := make(chan struct{})
		for i := range requests {
			p := []*process{one, two}[i%2]
			c := b.copy()
			group.Go(func() {
				<-begin
				status, body := c.get(p, "/me")
				mu.Lock()
				defer mu.Unlock()
				switch status {
				case http.StatusOK:
					let++
				case http.StatusUnauthorized:
					late++
				default:
					t.Errorf("status %d: %s", status, body)
				}
			})
		}
		out := b.copy()
		group.Go(func() {
			<-begin
			if status, body := out.get(two, "/logout"); status != http.StatusOK {
				t.Errorf("log-out: status %d: %s", status, body)
			}
		})
		close(begin)
		group.Wait()
		if len(allSessions(t, one.rdb)) != 0 || len(members(t, one.rdb, "anna")) != 0 {
			t.Fatal("the session is in Redis after its log-out")
		}
		one.sessions.Beat(t.Context()) // the activity that the database is told of
		b.want(t, one, "/me", http.StatusUnauthorized)
		if len(allSessions(t, one.rdb)) != 0 {
			t.Fatal("the session was brought back")
		}
	}
	if let == 0 || late == 0 {
		t.Errorf("%d requests came before the log-out and %d after: the test shows nothing", let, late)
	}
	t.Logf("%d rounds: %d requests before the log-out, %d after", rounds, let, late)
}

// plainStore saves as the stores of scs do.
type plainStore struct{ rdb *redis.Client }

func (p plainStore) Find(token string) ([]byte, bool, error) {
	b, err := p.rdb.Get(context.Background(), token).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return b, err == nil, err
}
func (p plainStore) Delete(token string) error { return p.rdb.Del(context.Background(), token).Err() }
func (p plainStore) Commit(token string, b []byte, expiry time.Time) error {
	return p.rdb.Set(context.Background(), token, b, time.Until(expiry)).Err()
}

// TestNaiveRefreshRevives: with scs as it comes, the save of a request that was under way brings a
// session back that was logged out meanwhile. TestRefreshOfAnEndedSession is the same with ours.
func TestNaiveRefreshRevives(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	m := &scs.SessionManager{IdleTimeout: time.Hour, Lifetime: time.Hour, Store: plainStore{rdb}, Codec: scs.GobCodec{}}
	loaded, err := m.Load(t.Context(), "")
	must(t, err)
	m.Put(loaded, "teacher", "anna")
	token, _, err := m.Commit(loaded)
	must(t, err)

	request, err := m.Load(t.Context(), token)
	must(t, err)
	logout, err := m.Load(t.Context(), token)
	must(t, err)
	must(t, m.Destroy(logout))
	_, _, err = m.Commit(request)
	must(t, err)
	after, err := m.Load(t.Context(), token)
	must(t, err)
	if m.GetString(after, "teacher") != "anna" {
		t.Error("the naive save does not revive: the tests of ours show nothing")
	}
}

// holdHook holds a client's refresh until the test lets it go.
type holdHook struct {
	on               *atomic.Bool
	arrived, release chan struct{}
}

func (h holdHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h holdHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h holdHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(c context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" && h.on.Load() {
			h.arrived <- struct{}{}
			<-h.release
		}
		return next(c, cmd)
	}
}

// TestRefreshOfAnEndedSession: the request has read the session, the log-out comes, and then the
// request stores its activity.
func TestRefreshOfAnEndedSession(t *testing.T) {
	for _, end := range []string{"/logout", "/everywhere/anna"} {
		server := redistest.Shared(t)
		backing := session.NewMemory()
		eager := func(c *session.Config) { c.RefreshEvery = time.Nanosecond }
		held := server.Client(func(o *redis.Options) { o.ContextTimeoutEnabled = true }) // used as it is, with its hook
		hook := holdHook{new(atomic.Bool), make(chan struct{}), make(chan struct{})}
		held.AddHook(hook)
		slow, quick := start(t, held, backing, eager), start(t, server.Client(), backing)
		b := loggedIn(t, quick, "anna")
		hook.on.Store(true)
		status := make(chan int)
		go func() {
			code, _ := b.copy().get(slow, "/me")
			status <- code
		}()
		<-hook.arrived
		b.copy().want(t, quick, end, http.StatusOK)
		hook.release <- struct{}{}
		if got := <-status; got != http.StatusUnauthorized {
			t.Errorf("%s: the request was answered %d", end, got)
		}
		if left := allSessions(t, quick.rdb); len(left) != 0 {
			t.Errorf("%s: the session was brought back", end)
		}
	}
}

// TestLogoutEverywhereAgainstLogin: each login is ended everywhere or nowhere. What a log-out everywhere
// returned before is gone; Redis and the database have the same sessions afterwards.
func TestLogoutEverywhereAgainstLogin(t *testing.T) {
	const rounds, logins = 60, 8
	server := redistest.Shared(t)
	backing := session.NewMemory()
	one, two := start(t, server.Client(fast), backing), start(t, server.Client(fast), backing)
	ended, left := 0, 0
	for round := range rounds {
		teacher := fmt.Sprint("teacher", round)
		must(t, one.rdb.FlushDB(t.Context()).Err())
		before := loggedIn(t, one, teacher)
		browsers := make([]*browser, logins)
		var group sync.WaitGroup
		begin := make(chan struct{})
		for i := range browsers {
			browsers[i] = newBrowser()
			group.Go(func() {
				<-begin
				browsers[i].get([]*process{one, two}[i%2], "/login/"+teacher)
			})
		}
		group.Go(func() {
			<-begin
			if status, body := newBrowser().get(two, "/everywhere/"+teacher); status != http.StatusOK {
				t.Errorf("status %d: %s", status, body)
			}
		})
		close(begin)
		group.Wait()
		n := len(members(t, one.rdb, teacher))
		exactly(t, n, one.rdb, backing, browsers, teacher, one, two)
		before.want(t, one, "/me", http.StatusUnauthorized)
		ended, left = ended+logins-n, left+n
		before.want(t, two, "/everywhere/"+teacher, http.StatusOK)
		if len(allSessions(t, one.rdb)) != 0 {
			t.Fatal("sessions are left after a log-out everywhere")
		}
	}
	t.Logf("%d logins ended by the log-out or the limit, %d stayed", ended, left)
}

// TestLogoutEverywhereReachesWhatTheSetLost: the database names the sessions that a set has lost.
func TestLogoutEverywhereReachesWhatTheSetLost(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory())
	b := loggedIn(t, p, "anna")
	must(t, rdb.Del(t.Context(), setKey(t, "anna")).Err())
	other := loggedIn(t, p, "anna")
	w := httptest.NewRecorder()
	p.http.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/everywhere/anna", nil))
	var n int
	must(t, json.Unmarshal(w.Body.Bytes(), &n))
	if n != 2 || len(allSessions(t, rdb)) != 0 {
		t.Errorf("%d ended, %d left", n, len(allSessions(t, rdb)))
	}
	b.want(t, p, "/me", http.StatusUnauthorized)
	other.want(t, p, "/me", http.StatusUnauthorized)
}

// TestRequestMendsTheSet: a set that was lost has its sessions again with their next stored activity.
func TestRequestMendsTheSet(t *testing.T) {
	var now clock
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory(), func(c *session.Config) { c.Now = now.now })
	b := loggedIn(t, p, "anna")
	must(t, rdb.Del(t.Context(), setKey(t, "anna")).Err())
	now.forward(time.Minute)
	b.want(t, p, "/me", http.StatusOK)
	if !slices.Equal(members(t, rdb, "anna"), []string{b.cookie}) {
		t.Error("the session is not in its set")
	}
}
