package csrf_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func newTokens(t testing.TB, rdb *redis.Client, changes ...func(*csrf.Config)) *csrf.Tokens {
	t.Helper()
	cfg := csrf.Config{Redis: rdb, NoJitter: true, Timeout: 20 * time.Second} // a busy machine is no outage
	for _, change := range changes {
		change(&cfg)
	}
	tokens, err := csrf.New(cfg)
	must(t, err)
	return tokens
}

func token(t testing.TB, tokens *csrf.Tokens, id string) string {
	t.Helper()
	got, err := tokens.Token(t.Context(), id)
	must(t, err)
	return got
}

func check(t testing.TB, tokens *csrf.Tokens, id, sent string, want bool) {
	t.Helper()
	ok, err := tokens.Check(t.Context(), id, sent)
	must(t, err)
	if ok != want {
		t.Errorf("a token of %d characters: right %v, want %v", len(sent), ok, want)
	}
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// TestWire: name, form and lifetime are those of the release before; this test is about the wire, so
// it has the name in letters.
func TestWire(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	made := token(t, tokens, "s1")
	if !hex64.MatchString(made) {
		t.Errorf("a token of the form %d characters", len(made))
	}
	if got := rdb.Get(t.Context(), "csrf:s1").Val(); got != made {
		t.Error("it is not stored under its name, as it is")
	}
	if life := rdb.TTL(t.Context(), "csrf:s1").Val(); life != 3600*time.Second {
		t.Errorf("it lives %v", life)
	}
	const old = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	must(t, rdb.Set(t.Context(), "csrf:s2", old, time.Hour).Err()) // by a process of the release before
	if got := token(t, tokens, "s2"); got != old {
		t.Error("a token of the release before was replaced")
	}
	check(t, tokens, "s2", old, true)
}

func TestCheck(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client())
	mine, others := token(t, tokens, "mine"), token(t, tokens, "others")
	if again := token(t, tokens, "mine"); again != mine || mine == others {
		t.Error("a session's token is made twice, or is another's")
	}
	check(t, tokens, "mine", mine, true)
	for _, wrong := range []string{"", "x", others, mine[:63], mine + "0", strings.ToUpper(mine) + "", strings.Repeat("0", 64), mine + mine, strings.Repeat("a", 1<<20)} {
		if wrong == mine { // no letter in it
			continue
		}
		check(t, tokens, "mine", wrong, false)
	}
	check(t, tokens, "nobody", "", false)
	check(t, tokens, "nobody", mine, false)
}

// TestRotate: the token before is right for a grace period, the one before that is not.
func TestRotate(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	first := token(t, tokens, "s")
	second, err := tokens.Rotate(t.Context(), "s")
	must(t, err)
	check(t, tokens, "s", first, true)
	check(t, tokens, "s", second, true)
	previous, err := keys.CSRFPrevious("s")
	must(t, err)
	if life := rdb.TTL(t.Context(), previous).Val(); life != ttl.CSRFPrevious {
		t.Errorf("the grace period is %v", life)
	}
	third, err := tokens.Rotate(t.Context(), "s")
	must(t, err)
	check(t, tokens, "s", first, false)
	check(t, tokens, "s", second, true)
	must(t, rdb.Del(t.Context(), previous).Err()) // as its expiry does
	check(t, tokens, "s", second, false)
	check(t, tokens, "s", third, true)
	if got := token(t, tokens, "s"); got != third {
		t.Error("the token is not the rotated one")
	}
	if _, err := tokens.Rotate(t.Context(), "without a token"); err != nil {
		t.Error(err)
	}
}

func TestForget(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	first := token(t, tokens, "s")
	second, err := tokens.Rotate(t.Context(), "s")
	must(t, err)
	must(t, tokens.Forget(t.Context(), "s"))
	check(t, tokens, "s", first, false)
	check(t, tokens, "s", second, false)
	if n := rdb.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestRenewal: a token that is used does not expire under an open page.
func TestRenewal(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	name, err := keys.CSRF("s")
	must(t, err)
	made := token(t, tokens, "s")
	for what, use := range map[string]func(){
		"asked for": func() { token(t, tokens, "s") },
		"sent":      func() { check(t, tokens, "s", made, true) },
	} {
		must(t, rdb.Expire(t.Context(), name, ttl.CSRF/2-time.Second).Err())
		use()
		if life := rdb.TTL(t.Context(), name).Val(); life != ttl.CSRF {
			t.Errorf("%s: it lives %v", what, life)
		}
	}
	must(t, rdb.Expire(t.Context(), name, time.Minute).Err())
	check(t, tokens, "s", "wrong", false)
	if life := rdb.TTL(t.Context(), name).Val(); life > time.Minute {
		t.Error("a wrong token renewed the right one")
	}
}

// TestWhatIsNoTokenIsReplaced: nobody can have a token that is none, not even by sending it.
func TestWhatIsNoTokenIsReplaced(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	name, err := keys.CSRF("s")
	must(t, err)
	for _, garbage := range []string{"x", strings.Repeat("g", 64)} {
		must(t, rdb.Set(t.Context(), name, garbage, time.Hour).Err())
		check(t, tokens, "s", garbage, false)
		if made := token(t, tokens, "s"); !hex64.MatchString(made) {
			t.Errorf("the token is %d characters", len(made))
		}
	}
}

// TestKeysOfAnotherType: what is no string is no token either, and no outage.
func TestKeysOfAnotherType(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	tokens := newTokens(t, rdb)
	name, err := keys.CSRF("s")
	must(t, err)
	before, err := keys.CSRFPrevious("s")
	must(t, err)
	spoil := func(name string) {
		t.Helper()
		must(t, rdb.Del(t.Context(), name).Err())
		must(t, rdb.LPush(t.Context(), name, "x").Err())
	}
	spoil(name)
	spoil(before)
	check(t, tokens, "s", strings.Repeat("a", 64), false)
	made := token(t, tokens, "s")
	check(t, tokens, "s", made, true)
	spoil(name)
	rotated, err := tokens.Rotate(t.Context(), "s")
	must(t, err)
	check(t, tokens, "s", rotated, true)
}

// TestManyTabs: a hundred tabs that ask at once have one token. With SET in the place of SET NX they have
// many.
func TestManyTabs(t *testing.T) {
	rdb := redistest.Shared(t).Client(func(o *redis.Options) { o.PoolSize = 50 })
	tokens := newTokens(t, rdb)
	different := func(ask func(id string) (string, error), id string) int {
		var mu sync.Mutex
		seen := map[string]bool{}
		var group sync.WaitGroup
		begin := make(chan struct{})
		for range 100 {
			group.Go(func() {
				<-begin
				got, err := ask(id)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				seen[got] = true
			})
		}
		close(begin)
		group.Wait()
		return len(seen)
	}
	for round := range 10 {
		n := different(func(id string) (string, error) { return tokens.Token(context.Background(), id) }, fmt.Sprint(round))
		if n != 1 {
			t.Fatalf("%d tokens", n)
		}
	}
	var looked sync.WaitGroup
	looked.Add(100)
	naive := func(id string) (string, error) {
		name, err := keys.CSRF(id)
		if err != nil {
			return "", err
		}
		stored, err := rdb.Get(context.Background(), name).Result()
		looked.Done()
		looked.Wait()
		if err == nil {
			return stored, nil
		}
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails
		made := hex.EncodeToString(b[:])
		return made, rdb.Set(context.Background(), name, made, time.Hour).Err()
	}
	if n := different(naive, "naive"); n == 1 {
		t.Error("the naive way gives one token: the test shows nothing")
	}
}

// TestOutage: a token is not to be had, which is another thing than wrong, and is there again afterwards.
func TestOutage(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	tokens := newTokens(t, server.Client(func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }))
	made := token(t, tokens, "s")
	server.Kill()
	if _, err := tokens.Token(t.Context(), "s"); !unavailable.Is(err) {
		t.Errorf("token: %v", err)
	}
	if ok, err := tokens.Check(t.Context(), "s", made); ok || !unavailable.Is(err) {
		t.Errorf("check: %v, %v", ok, err)
	}
	if _, err := tokens.Rotate(t.Context(), "s"); !unavailable.Is(err) {
		t.Errorf("rotate: %v", err)
	}
	if err := tokens.Forget(t.Context(), "s"); !unavailable.Is(err) {
		t.Errorf("forget: %v", err)
	}
	server.Restart()
	check(t, tokens, "s", made, true)
}

// TestHang: a server that does not answer is given up after the timeout.
func TestHang(t *testing.T) {
	server := redistest.Start(t)
	made := token(t, newTokens(t, server.Client()), "s")
	tokens := newTokens(t, server.Client(), func(c *csrf.Config) { c.Timeout = 50 * time.Millisecond })
	server.Pause()
	if ok, err := tokens.Check(t.Context(), "s", made); ok || !unavailable.Is(err) {
		t.Errorf("check: %v, %v", ok, err)
	}
	server.Continue()
}

func TestIdentifiers(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client())
	for _, id := range []string{"", "a:b", strings.Repeat("x", 513)} {
		_, tokenErr := tokens.Token(t.Context(), id)
		_, rotateErr := tokens.Rotate(t.Context(), id)
		_, checkErr := tokens.Check(t.Context(), id, "x")
		for _, err := range []error{tokenErr, rotateErr, checkErr, tokens.Forget(t.Context(), id)} {
			if err == nil || unavailable.Is(err) || !strings.Contains(err.Error(), "session id") {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	for _, cfg := range []csrf.Config{{}, {Redis: rdb, Timeout: -1}, {Redis: rdb, MaxForm: -1}} {
		if _, err := csrf.New(cfg); err == nil {
			t.Error("not refused")
		}
	}
}

// through is a process whose keys are where the phases say.
func through(t *testing.T, server *redistest.Server, from rekey.Option) (*csrf.Tokens, *rekey.Rekey) {
	t.Helper()
	r, rdb := phasefleet.Open(t, server, from)
	return newTokens(t, rdb), r
}

func both(p phase.Phase) map[string]phase.Phase {
	return phasefleet.At(p, "csrf", "csrf_previous")
}

// TestPhases: two processes in neighbouring phases behave as one without rekey.
func TestPhases(t *testing.T) {
	for _, mix := range [][2]phase.Phase{
		{phase.Legacy, phase.Legacy}, {phase.Legacy, phase.Guard}, {phase.Guard, phase.Dual}, {phase.Dual, phase.Dual},
		{phase.Dual, phase.Settled}, {phase.Dual, phase.Drain}, {phase.Dual, phase.Sealed}, {phase.Settled, phase.Settled},
		{phase.Settled, phase.Sealed}, {phase.Drain, phase.Drain}, {phase.Sealed, phase.Prefixed}, {phase.Prefixed, phase.Prefixed},
	} {
		t.Run(fmt.Sprintf("%s and %s", mix[0], mix[1]), func(t *testing.T) {
			server := redistest.Shared(t)
			one, _ := through(t, server, rekey.WithPhases(both(mix[0])))
			two, _ := through(t, server, rekey.WithPhases(both(mix[1])))
			for round := range 4 {
				a, b := one, two
				if round%2 == 1 {
					a, b = two, one
				}
				id := fmt.Sprint(round)
				first := token(t, a, id)
				if token(t, b, id) != first {
					t.Fatal("two tokens of one session")
				}
				second, err := b.Rotate(t.Context(), id)
				must(t, err)
				for _, p := range []*csrf.Tokens{a, b} {
					check(t, p, id, first, true)
					check(t, p, id, second, true)
				}
				must(t, a.Forget(t.Context(), id))
				for _, p := range []*csrf.Tokens{a, b} {
					check(t, p, id, first, false)
					check(t, p, id, second, false)
				}
			}
		})
	}
}

// TestWalk changes the phases under load: no right token is ever refused.
func TestWalk(t *testing.T) {
	server := redistest.Shared(t)
	source := rekey.NewManual(both(phase.Legacy))
	tokens, r := through(t, server, rekey.WithSource(source))
	run, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var mu sync.Mutex
	checks := 0
	for n := range 8 {
		load.Go(func() {
			id := fmt.Sprint("session", n)
			for round := 0; run.Err() == nil; round++ {
				sent, err := tokens.Token(context.Background(), id)
				ok, checkErr := tokens.Check(context.Background(), id, sent)
				if err != nil || checkErr != nil || !ok {
					t.Errorf("a right token: %v, errors %v, %v", ok, err, checkErr)
					return
				}
				if round%5 == 4 {
					if _, err := tokens.Rotate(context.Background(), id); err != nil {
						t.Error(err)
					}
					if ok, err := tokens.Check(context.Background(), id, sent); !ok || err != nil {
						t.Errorf("the token before: %v, %v", ok, err)
					}
				}
				mu.Lock()
				checks++
				mu.Unlock()
			}
		})
	}
	for _, p := range []phase.Phase{phase.Guard, phase.Dual, phase.Settled, phase.Dual, phase.Guard, phase.Legacy} {
		if p == phase.Settled { // its gate: every key has its copy
			for n := range 8 {
				check(t, tokens, fmt.Sprint("session", n), "wrong", false)
			}
		}
		source.Set(both(p))
		redistest.WaitFor(t, 10*time.Second, func() bool { return r.Phases()["csrf"] == p && r.Phases()["csrf_previous"] == p })
		must(t, r.WaitReached(t.Context()))
		mu.Lock()
		before := checks
		mu.Unlock()
		redistest.WaitFor(t, 10*time.Second, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return t.Failed() || checks > before+100
		})
	}
	stop()
	load.Wait()
	t.Logf("%d checks", checks)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
