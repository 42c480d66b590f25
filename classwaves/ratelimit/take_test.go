package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestThousandHitsAtOncePassExactlyTheLimit(t *testing.T) {
	s := redistest.Shared(t)
	// Three processes, each with connections of its own.
	fleet := []*ratelimit.Limiter{newLimiter(t, s.Client()), newLimiter(t, s.Client()), newLimiter(t, s.Client())}
	if passed := hits(t, 1000, ratelimit.General, "203.0.113.7", fleet...); passed != 100 {
		t.Errorf("%d of 1,000 hits passed, want 100", passed)
	}
	if got := s.Client().Get(t.Context(), key(t, ratelimit.General, "203.0.113.7")).Val(); got != "1000" {
		t.Errorf("counted %s, want 1000", got)
	}
}

// The same hits on a limiter that looks before it counts: what the test above would see if counting
// and deciding were two steps.
func TestLookingBeforeCountingPassesMore(t *testing.T) {
	s := redistest.Shared(t)
	rdb := s.Client(func(o *redis.Options) { o.ReadTimeout = patient })
	name := key(t, ratelimit.General, "203.0.113.7")
	const hits = 200
	var looked, done sync.WaitGroup
	looked.Add(hits)
	passed := make(chan bool, hits)
	for range hits {
		done.Go(func() {
			n, err := rdb.Get(t.Context(), name).Int()
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Error(err)
			}
			looked.Done()
			looked.Wait()
			if n < ratelimit.General.Points {
				passed <- true
				if err := rdb.Incr(t.Context(), name).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	if len(passed) <= ratelimit.General.Points {
		t.Errorf("%d passed: the naive limiter is not naive", len(passed))
	}
}

func TestWindowIsFixedFromTheFirstHit(t *testing.T) {
	s := redistest.Shared(t)
	l, rdb := newLimiter(t, s.Client()), s.Client()
	limit := ratelimit.Limit{Name: "search", Points: 3, Window: 20 * time.Minute}
	name := key(t, limit, "u1")

	for i, want := range []ratelimit.Decision{
		{Allowed: true, Limit: 3, Remaining: 2}, {Allowed: true, Limit: 3, Remaining: 1}, {Allowed: true, Limit: 3}, {Limit: 3}, {Limit: 3},
	} {
		if i == 1 { // as if half of the window had gone by
			rdb.PExpire(t.Context(), name, 10*time.Minute)
		}
		got := take(t, l, limit, "u1")
		if got.Allowed != want.Allowed || got.Limit != want.Limit || got.Remaining != want.Remaining {
			t.Errorf("hit %d: got %+v, want %+v", i+1, got, want)
		}
		if got.Allowed != (got.RetryAfter == 0) || !got.Allowed && got.RetryAfter != got.Reset {
			t.Errorf("hit %d: allowed %v, retry after %v, reset %v", i+1, got.Allowed, got.RetryAfter, got.Reset)
		}
		if i >= 1 && got.Reset > 10*time.Minute {
			t.Errorf("hit %d moved the end of the window", i+1)
		}
	}
}

// TestWhatIsNoCounterIsReplaced: garbage under a subject's name, which may have no end, is no reason to limit
// the subject in each process by itself for ever.
func TestWhatIsNoCounterIsReplaced(t *testing.T) {
	s := redistest.Shared(t)
	l, rdb := newLimiter(t, s.Client()), s.Client()
	limit := ratelimit.Limit{Name: "search", Points: 3, Window: 20 * time.Minute}
	name := key(t, limit, "u1")
	for what, garbage := range map[string]func() error{
		"another type": func() error { return rdb.LPush(t.Context(), name, "x").Err() },
		"no number":    func() error { return rdb.Set(t.Context(), name, "x", 0).Err() },
	} {
		rdb.Del(t.Context(), name)
		if err := garbage(); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, true, true, false} {
			if got := take(t, l, limit, "u1"); got.Allowed != want || got.Insured {
				t.Errorf("%s, hit %d: got %+v, want allowed %v by Redis", what, i+1, got, want)
			}
		}
		if left := rdb.PTTL(t.Context(), name).Val(); left <= 0 || left > limit.Window {
			t.Errorf("%s: the counter ends in %v", what, left)
		}
	}
}

func TestWindowEnds(t *testing.T) {
	s := redistest.Shared(t)
	l := newLimiter(t, s.Client())
	limit := ratelimit.Limit{Name: "short", Points: 2, Window: 50 * time.Millisecond}
	for take(t, l, limit, "u1").Allowed { // ends at the latest when two windows in a row do not interrupt it
	}
	redistest.WaitFor(t, patient, func() bool { return take(t, l, limit, "u1").Allowed })
}

func TestBlockEnds(t *testing.T) {
	s := redistest.Shared(t)
	l := newLimiter(t, s.Client())
	limit := ratelimit.Limit{Name: "short", Points: 2, Window: time.Hour, Block: 50 * time.Millisecond}
	for take(t, l, limit, "u1").Allowed {
	}
	redistest.WaitFor(t, patient, func() bool { return take(t, l, limit, "u1").Allowed })
}

func TestFirstExcessBeginsTheBlock(t *testing.T) {
	s := redistest.Shared(t)
	l, rdb := newLimiter(t, s.Client()), s.Client()
	limit := ratelimit.Limit{Name: "login", Points: 2, Window: time.Minute, Block: time.Hour}
	name := key(t, limit, "u1")
	ttl := func() time.Duration { return rdb.PTTL(t.Context(), name).Val() }

	take(t, l, limit, "u1")
	if d := take(t, l, limit, "u1"); !d.Allowed || ttl() > time.Minute {
		t.Fatalf("the last point: %+v, TTL %v", d, ttl())
	}
	if d := take(t, l, limit, "u1"); d.Allowed || d.RetryAfter != time.Hour || ttl() <= time.Minute {
		t.Fatalf("the first excess: %+v, TTL %v, want a block of 1h", d, ttl())
	}
	rdb.PExpire(t.Context(), name, time.Minute) // as if most of the block had gone by
	if d := take(t, l, limit, "u1"); d.Allowed || d.RetryAfter > time.Minute || ttl() > time.Minute {
		t.Fatalf("a hit while blocked prolonged the block: %+v, TTL %v", d, ttl())
	}
	if got := rdb.Get(t.Context(), name).Val(); got != "4" {
		t.Errorf("counted %q, want 4", got)
	}
	if d := take(t, l, limit, "u2"); !d.Allowed {
		t.Error("the block of one subject met another")
	}
}

// The names and values here are written out because processes of another program read them.
func TestOnTheWire(t *testing.T) {
	s := redistest.Shared(t)
	l, conn := newLimiter(t, s.Client()), s.Conn()
	take(t, l, ratelimit.Auth, "2001:db8::1")
	if got := string(conn.Do("GET", "rl:auth:2001:db8::1").Str); got != "1" {
		t.Errorf("after one hit the key holds %q", got)
	}
	if got := string(conn.Do("TYPE", "rl:auth:2001:db8::1").Str); got != "string" {
		t.Errorf("a key of type %s", got)
	}
	conn.Do("SET", "rl:auth:x", "5", "EX", "100")
	if d := take(t, l, ratelimit.Auth, "x"); d.Allowed || d.RetryAfter != 900*time.Second {
		t.Errorf("the sixth hit of a counter that another process keeps: %+v", d)
	}
	conn.Do("SET", "rl:general:x", "7") // a counter that lost its end would shut somebody out for ever
	if d := take(t, l, ratelimit.General, "x"); !d.Allowed || d.Remaining != 92 || d.Reset != 900*time.Second {
		t.Errorf("a counter without an end: %+v", d)
	}
	if left := conn.Do("TTL", "rl:general:x").Int; left <= 0 {
		t.Errorf("its TTL is %d", left)
	}
}

func TestOneRoundTrip(t *testing.T) {
	s := redistest.Shared(t)
	l, rdb := newLimiter(t, s.Client()), s.Client()
	take(t, l, ratelimit.General, "warm") // loads the script
	rdb.ConfigResetStat(t.Context())
	for range 10 {
		take(t, l, ratelimit.General, "u1")
	}
	stats := rdb.InfoMap(t.Context(), "commandstats").Item("Commandstats", "cmdstat_evalsha")
	if !strings.HasPrefix(stats, "calls=10,") {
		t.Errorf("ten hits ran as %q, want 10 calls of EVALSHA", stats)
	}
	if stats := rdb.InfoMap(t.Context(), "commandstats").Item("Commandstats", "cmdstat_eval"); stats != "" {
		t.Errorf("the script was sent again: %q", stats)
	}
}

func TestWhatCannotBeCountedDoesNotPass(t *testing.T) {
	l := newLimiter(t, redistest.Shared(t).Client())
	for name, c := range map[string]struct {
		limit   ratelimit.Limit
		subject string
	}{
		"no subject":   {ratelimit.General, ""},
		"too long":     {ratelimit.General, strings.Repeat("x", keys.MaxBytes+1)},
		"colon":        {ratelimit.Limit{Name: "a:b", Points: 1, Window: time.Second}, "u1"},
		"no points":    {ratelimit.Limit{Name: "a", Window: time.Second}, "u1"},
		"no window":    {ratelimit.Limit{Name: "a", Points: 1}, "u1"},
		"short block":  {ratelimit.Limit{Name: "a", Points: 1, Window: time.Second, Block: time.Microsecond}, "u1"},
		"negative one": {ratelimit.Limit{Name: "a", Points: 1, Window: time.Second, Block: -1}, "u1"},
	} {
		d, err := l.Take(t.Context(), c.limit, c.subject)
		var invalid *keys.InvalidError
		if d.Allowed || !errors.As(err, &invalid) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// Whoever hangs up has used the point: otherwise a client could try passwords without end.
func TestHangingUpIsCounted(t *testing.T) {
	s := redistest.Shared(t)
	l := newLimiter(t, s.Client())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range ratelimit.Auth.Points {
		if d, err := l.Take(gone, ratelimit.Auth, "u1"); err != nil || !d.Allowed || d.Insured {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if d := take(t, l, ratelimit.Auth, "u1"); d.Allowed {
		t.Error("hits of a client that hung up did not count")
	}
}

func TestNewRefuses(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer func() { _ = rdb.Close() }() // it was never used
	for _, c := range []ratelimit.Config{{}, {Redis: rdb, Timeout: -1}, {Redis: rdb, MaxSubjects: -1}} {
		if _, err := ratelimit.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
