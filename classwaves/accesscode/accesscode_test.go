package accesscode_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestCreateResolveRelease(t *testing.T) {
	rdb, d := redistest.Shared(t).Client(), newDirectory()
	c := newCodes(t, rdb, d)
	code := create(t, c, "s1")
	wantPair(t, rdb, "s1", code)
	if d.all()["s1"] != code {
		t.Errorf("the directory holds %q, want %q", d.all()["s1"], code)
	}
	asked := d.queries()
	for _, typed := range []string{code, strings.ToLower(code), " " + code[:3] + "-" + code[3:] + " "} {
		if got := resolve(t, c, typed); got != "s1" {
			t.Errorf("%q leads to %q", typed, got)
		}
	}
	if again := create(t, c, "s1"); again != code {
		t.Errorf("the session has %q and was given %q", code, again)
	}
	if d.queries() != asked {
		t.Error("the directory was asked though the pair agrees")
	}
	other := create(t, c, "s2")

	release(t, c, "s1")
	wantNone(t, rdb, "s1", code)
	if got := resolve(t, c, code); got != "" {
		t.Errorf("a released code leads to %q", got)
	}
	release(t, c, "s1") // once more is no error
	if _, has := d.all()["s1"]; has {
		t.Error("the directory holds a released code")
	}
	if got := resolve(t, c, other); got != "s2" {
		t.Errorf("the other session's code leads to %q", got)
	}
	if n := rdb.DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("%d keys are left, want the other session's 2", n)
	}
}

// The names and values here are written out because processes of another program read them.
func TestOnTheWire(t *testing.T) {
	s, d := redistest.Shared(t), newDirectory()
	c, conn := newCodes(t, s.Client(), d), s.Conn()
	code := create(t, c, "42")
	if got := string(conn.Do("GET", "session:42:access_code").Str); got != code {
		t.Errorf("the session's key holds %q, want %q", got, code)
	}
	if got := string(conn.Do("GET", "access_code:"+code).Str); got != "42" {
		t.Errorf("the code's key holds %q, want 42", got)
	}
	// A pair of the old release, whose alphabet is another, and of which the directory knows nothing.
	conn.Do("SET", "access_code:O0I1LS", "7", "EX", "86400")
	conn.Do("SET", "session:7:access_code", "O0I1LS", "EX", "86400")
	if got := resolve(t, c, "o0i1ls"); got != "7" {
		t.Errorf("a code of the old release leads to %q", got)
	}
	if got := create(t, c, "7"); got != "O0I1LS" {
		t.Errorf("a session of the old release was given %q", got)
	}
	release(t, c, "7")
	if n := conn.Do("EXISTS", "access_code:O0I1LS", "session:7:access_code").Int; n != 0 {
		t.Errorf("%d keys of a released pair are left", n)
	}
}

func TestLifetimes(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	lifetimes := func(c *accesscode.Codes, session string) (time.Duration, time.Duration) {
		code := create(t, c, session)
		expires := func(key string) time.Duration { return rdb.PExpireTime(t.Context(), key).Val() }
		a, b := expires(codeKey(t, code)), expires(sessionKey(t, session))
		if a != b {
			t.Errorf("the two keys end %v apart", a-b)
		}
		return rdb.PTTL(t.Context(), codeKey(t, code)).Val(), a
	}
	exact, err := accesscode.New(accesscode.Config{Redis: rdb, Directory: newDirectory(), Timeout: patient, NoJitter: true})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := lifetimes(exact, "exact"); left > ttl.AccessCode || left < ttl.AccessCode-time.Hour {
		t.Errorf("without jitter the pair lives %v", left)
	}
	jittered := newCodes(t, rdb, newDirectory())
	ends := make(map[time.Duration]bool)
	for _, session := range []string{"a", "b", "c", "d", "e", "f"} {
		left, _ := lifetimes(jittered, session)
		ends[left.Truncate(time.Minute)] = true
		if left > ttl.AccessCode*115/100 || left < ttl.AccessCode*84/100 {
			t.Errorf("with jitter the pair lives %v", left)
		}
	}
	if len(ends) == 1 {
		t.Error("all pairs end at once")
	}
}

// What Redis may hold of a code that the directory says is s1's: the answer is s1 in every case, and
// the pair is whole afterwards unless it belongs to somebody else by then.
// TestKeysOfAnotherType: what is no string is no half of a pair. The directory answers, the pair is put right,
// and a session can end.
func TestKeysOfAnotherType(t *testing.T) {
	for name, half := range map[string]func(session, code string) string{
		"code":    func(_, code string) string { return code },
		"session": func(session, _ string) string { return session },
	} {
		t.Run(name, func(t *testing.T) {
			rdb, d := redistest.Shared(t).Client(), newDirectory()
			codes := newCodes(t, rdb, d)
			code := create(t, codes, "s1")
			spoil := func() {
				t.Helper()
				key := half(sessionKey(t, "s1"), codeKey(t, code))
				rdb.Del(t.Context(), key)
				if err := rdb.LPush(t.Context(), key, "x").Err(); err != nil {
					t.Fatal(err)
				}
			}
			spoil()
			if got := resolve(t, codes, code); got != "s1" {
				t.Errorf("leads to %q, want s1", got)
			}
			wantPair(t, rdb, "s1", code)
			spoil()
			if got := create(t, codes, "s1"); got != code {
				t.Errorf("the session was given %q, want %q", got, code)
			}
			wantPair(t, rdb, "s1", code)
			spoil()
			release(t, codes, "s1")
			if got := d.all(); len(got) != 0 {
				t.Errorf("released, and the directory has %v", got)
			}
		})
	}
}

func TestOnlyPairsThatAgreeAreBelieved(t *testing.T) {
	const code = "AAAAAA"
	for name, c := range map[string]struct {
		code     string            // what the code's key holds
		sessions map[string]string // what sessions' keys hold
	}{
		"nothing":                    {},
		"code alone":                 {"s1", nil},
		"session alone":              {"", map[string]string{"s1": code}},
		"code leads elsewhere":       {"s2", map[string]string{"s1": code}},
		"to a session with another":  {"s2", map[string]string{"s1": code, "s2": "CCCCCC"}},
		"session has another":        {"s1", map[string]string{"s1": "CCCCCC"}},
		"to what is no session":      {"a:b", map[string]string{"s1": code}},
		"session has what is none":   {"s1", map[string]string{"s1": "::"}},
		"in other letters, by hand":  {"s1", map[string]string{"s1": "aaaaaa"}},
		"to a session without a key": {"s2", nil},
	} {
		t.Run(name, func(t *testing.T) {
			rdb, d := redistest.Shared(t).Client(), newDirectory()
			d.codes["s1"] = code
			codes := newCodes(t, rdb, d)
			if c.code != "" {
				put(t, rdb, codeKey(t, code), c.code)
			}
			for session, value := range c.sessions {
				put(t, rdb, sessionKey(t, session), value)
			}
			if got := resolve(t, codes, code); got != "s1" {
				t.Errorf("leads to %q, want s1", got)
			}
			wantPair(t, rdb, "s1", code)
			asked := d.queries()
			if got := resolve(t, codes, code); got != "s1" || d.queries() != asked {
				t.Errorf("the second time: %q, %d queries more", got, d.queries()-asked)
			}
			if got := create(t, codes, "s1"); got != code {
				t.Errorf("the session was given %q", got)
			}
		})
	}
	// The same where the directory knows of nobody: halves prove nothing.
	for name, set := range map[string]map[string]string{
		"code alone":        {codeKey(t, code): "s1"},
		"session alone":     {sessionKey(t, "s1"): code},
		"session elsewhere": {codeKey(t, code): "s1", sessionKey(t, "s1"): "CCCCCC"},
	} {
		t.Run("unknown/"+name, func(t *testing.T) {
			rdb := redistest.Shared(t).Client()
			for key, value := range set {
				put(t, rdb, key, value)
			}
			if got := resolve(t, newCodes(t, rdb, newDirectory()), code); got != "" {
				t.Errorf("leads to %q", got)
			}
		})
	}
}

// What a reader would answer that takes the code's key alone: the former classroom.
func TestBelievingOneHalfLeadsAstray(t *testing.T) {
	rdb, d := redistest.Shared(t).Client(), newDirectory()
	d.codes["s2"] = "AAAAAA" // the code went on to s2; an old process left this key behind
	put(t, rdb, codeKey(t, "AAAAAA"), "s1")
	if naive := held(t, rdb, codeKey(t, "AAAAAA")); naive != "s1" {
		t.Errorf("the naive reader found %q", naive)
	}
	if got := resolve(t, newCodes(t, rdb, d), "AAAAAA"); got != "s2" {
		t.Errorf("leads to %q, want s2", got)
	}
}

func TestOneSessionAtOnceGetsOneCode(t *testing.T) {
	s, d := redistest.Shared(t), newDirectory()
	fleet := []*accesscode.Codes{newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)}
	const n = 40
	got := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			code, err := fleet[i%2].Create(t.Context(), "s1")
			if err != nil {
				t.Error(err)
			}
			got[i] = code
		})
	}
	all.Wait()
	for _, code := range got {
		if code != got[0] {
			t.Fatalf("one session was given %q and %q", got[0], code)
		}
	}
	rdb := s.Client()
	wantPair(t, rdb, "s1", got[0])
	if n := rdb.DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("%d keys, want the pair alone: reservations were left", n)
	}
}

func TestExhausted(t *testing.T) {
	rdb, d := redistest.Shared(t).Client(), newDirectory()
	c := newCodes(t, rdb, d)
	c.Draw(inTurn("AAAAAA", "CCCCCC"))
	create(t, c, "s1")
	create(t, c, "s2")
	if code, err := c.Create(t.Context(), "s3"); !errors.Is(err, accesscode.ErrExhausted) || code != "" {
		t.Errorf("a third session was given %q, %v", code, err)
	}
	release(t, c, "s1")
	if code := create(t, c, "s3"); code != "AAAAAA" {
		t.Errorf("the code that became free was not given: %q", code)
	}
}

func TestBadIdentifiers(t *testing.T) {
	c := newCodes(t, redistest.Shared(t).Client(), newDirectory())
	var invalid *keys.InvalidError
	for _, session := range []string{"", "a:b", strings.Repeat("x", keys.MaxBytes+1)} {
		if _, err := c.Create(t.Context(), session); !errors.As(err, &invalid) {
			t.Errorf("create for %.10q: %v", session, err)
		}
		if err := c.Release(t.Context(), session); !errors.As(err, &invalid) {
			t.Errorf("release of %.10q: %v", session, err)
		}
	}
	if _, found, err := c.Resolve(t.Context(), "a:b:c:d"); found || !errors.As(err, &invalid) {
		t.Errorf("resolve: %v, %v", found, err)
	}
}

func TestNewRefuses(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer func() { _ = rdb.Close() }() // it was never used
	for _, c := range []accesscode.Config{
		{Directory: newDirectory()}, {Redis: rdb}, {Redis: rdb, Directory: newDirectory(), Timeout: -1},
	} {
		if _, err := accesscode.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// An old process gave s1's code to s2 and left s1's own key behind: s1 has no code any more, whatever
// that key says, and ending s1 takes nothing from s2.
func TestCodeThatWasReassignedByAnOldProcess(t *testing.T) {
	rdb, d := redistest.Shared(t).Client(), newDirectory()
	c := newCodes(t, rdb, d)
	c.Draw(inTurn("AAAAAA", "CCCCCC"))
	put(t, rdb, codeKey(t, "AAAAAA"), "s2")
	put(t, rdb, sessionKey(t, "s2"), "AAAAAA")
	put(t, rdb, sessionKey(t, "s1"), "AAAAAA")
	if got := create(t, c, "s1"); got != "CCCCCC" {
		t.Errorf("s1 was given %q, which is s2's", got)
	}
	put(t, rdb, sessionKey(t, "s1"), "AAAAAA")
	release(t, c, "s1")
	wantPair(t, rdb, "s2", "AAAAAA")
	if got := resolve(t, c, "AAAAAA"); got != "s2" {
		t.Errorf("the code leads to %q, want s2", got)
	}
	if got := held(t, rdb, sessionKey(t, "s1")); got != "" {
		t.Errorf("the ended session still holds %q", got)
	}
}
