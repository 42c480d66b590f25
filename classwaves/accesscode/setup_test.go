package accesscode_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

// A pool of go-redis whose server was killed looks for it once a second, and notices only then that it
// was closed.
func TestMain(m *testing.M) {
	redistest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patient is a timeout that no busy machine reaches: where Redis is up, a test must not see it down.
const patient = 30 * time.Second

// once makes a client try everything once, so that a refused connection is known at once.
func once(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

func newCodes(t testing.TB, rdb redis.UniversalClient, d accesscode.Directory) *accesscode.Codes {
	t.Helper()
	c, err := accesscode.New(accesscode.Config{Redis: rdb, Directory: d, Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// directory is a database in memory.
type directory struct {
	mu     sync.Mutex
	codes  map[string]string // by session
	asked  int
	down   bool
	lax    bool // codes need not be unique
	before func(op string)
	after  func(op string)
}

func newDirectory() *directory { return &directory{codes: make(map[string]string)} }

var errDown = errors.New("connection refused")

// op is one query; the hooks run outside of the lock.
func (d *directory) op(ctx context.Context, name string, query func()) error {
	d.mu.Lock()
	before, after := d.before, d.after
	d.mu.Unlock()
	if before != nil {
		before(name)
	}
	err := func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked++
		if d.down {
			return unavailable.Wrap(name, errDown)
		}
		query()
		return unavailable.Wrap(name, ctx.Err())
	}()
	if after != nil {
		after(name)
	}
	return err
}

func (d *directory) SessionOfCode(ctx context.Context, code string) (session string, found bool, err error) {
	err = d.op(ctx, "SessionOfCode", func() {
		for s, c := range d.codes {
			if c == code {
				session, found = s, true
			}
		}
	})
	return session, found, err
}

func (d *directory) CodeOfSession(ctx context.Context, session string) (code string, found bool, err error) {
	err = d.op(ctx, "CodeOfSession", func() { code, found = d.codes[session] })
	return code, found, err
}

func (d *directory) SetCode(ctx context.Context, session, code string) (taken bool, err error) {
	err = d.op(ctx, "SetCode", func() {
		for s, c := range d.codes {
			taken = taken || c == code && s != session && !d.lax
		}
		if _, has := d.codes[session]; !taken && !has {
			d.codes[session] = code
		}
	})
	return taken, err
}

func (d *directory) ReleaseCode(ctx context.Context, session string) error {
	return d.op(ctx, "ReleaseCode", func() { delete(d.codes, session) })
}

// set changes the directory between a test's steps.
func (d *directory) set(change func(*directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *directory) queries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// all is a copy of what it holds.
func (d *directory) all() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.codes)
}

var _ accesscode.Directory = (*directory)(nil)

func create(t testing.TB, c *accesscode.Codes, session string) string {
	t.Helper()
	code, err := c.Create(t.Context(), session)
	if err != nil {
		t.Fatalf("create a code: %v", err)
	}
	return code
}

// resolve is the session of a code; "" is absent.
func resolve(t testing.TB, c *accesscode.Codes, code string) string {
	t.Helper()
	session, found, err := c.Resolve(t.Context(), code)
	if err != nil {
		t.Fatalf("resolve a code: %v", err)
	}
	if found != (session != "") {
		t.Fatalf("found %v, session %q", found, session)
	}
	return session
}

func release(t testing.TB, c *accesscode.Codes, session string) {
	t.Helper()
	if err := c.Release(t.Context(), session); err != nil {
		t.Fatalf("release a code: %v", err)
	}
}

// codeKey and sessionKey are the halves of a pair.
func codeKey(t testing.TB, code string) string {
	t.Helper()
	name, err := keys.AccessCode(code)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func sessionKey(t testing.TB, session string) string {
	t.Helper()
	name, err := keys.SessionAccessCode(session)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// put writes a key as another program would.
func put(t testing.TB, rdb redis.Cmdable, key, value string) {
	t.Helper()
	if err := rdb.Set(t.Context(), key, value, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
}

// held is what a key holds; "" is nothing.
func held(t testing.TB, rdb redis.Cmdable, key string) string {
	t.Helper()
	value, err := rdb.Get(t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return value
}

// wantPair holds that both halves are there, of one pair, and end together.
func wantPair(t testing.TB, rdb redis.Cmdable, session, code string) {
	t.Helper()
	if a, b := held(t, rdb, codeKey(t, code)), held(t, rdb, sessionKey(t, session)); a != session || b != code {
		t.Errorf("the code's key holds %q, the session's %q, want a pair of %q and %q", a, b, session, code)
	}
}

// wantNone holds that neither half is there.
func wantNone(t testing.TB, rdb redis.Cmdable, session, code string) {
	t.Helper()
	if a, b := held(t, rdb, codeKey(t, code)), held(t, rdb, sessionKey(t, session)); a != "" || b != "" {
		t.Errorf("the code's key holds %q, the session's %q, want nothing", a, b)
	}
}

// inTurn gives out the codes of a list.
func inTurn(codes ...string) func() string {
	var mu sync.Mutex
	next := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		code := codes[next%len(codes)]
		next++
		return code
	}
}
