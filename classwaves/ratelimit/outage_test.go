package ratelimit_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// insured is one hit that this process must decide on alone.
func insured(t *testing.T, l *ratelimit.Limiter, limit ratelimit.Limit, subject string) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), limit, subject)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Insured {
		t.Fatalf("Redis decided: %+v", d)
	}
	return d
}

func TestInsuranceLimitsWhileRedisIsKilled(t *testing.T) {
	s := redistest.Start(t)
	var logged bytes.Buffer
	still := time.Now()
	l := newLimiter(t, s.Client(once), func(c *ratelimit.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		c.Now = func() time.Time { return still }
	})
	for range ratelimit.Auth.Points + 1 {
		take(t, l, ratelimit.Auth, "guesser")
	}

	s.Kill()
	passed := 0
	for i := range 50 {
		if d := insured(t, l, ratelimit.Auth, "somebody"); d.Allowed {
			passed++
		} else if i < ratelimit.Auth.Points {
			t.Errorf("hit %d: the outage refused it: %+v", i+1, d)
		} else if d.RetryAfter != ratelimit.Auth.Block {
			t.Errorf("hit %d: retry after %v", i+1, d.RetryAfter)
		}
	}
	if passed != ratelimit.Auth.Points {
		t.Errorf("%d of 50 hits passed without Redis, want %d", passed, ratelimit.Auth.Points)
	}
	if d := insured(t, l, ratelimit.Auth, "guesser"); d.Allowed {
		t.Error("the outage pardoned a subject that Redis had blocked")
	}
	if !l.Insured() {
		t.Error("Insured() is false in an outage")
	}

	s.Restart()
	redistest.WaitFor(t, patient, func() bool {
		d, err := l.Take(t.Context(), ratelimit.General, "poll")
		return err == nil && !d.Insured
	})
	if d := take(t, l, ratelimit.Auth, "guesser"); !d.Allowed {
		t.Error("Redis decides again, and it came back empty")
	}
	if l.Insured() {
		t.Error("Insured() is true after the outage")
	}

	for line, want := range map[string]int{"redis is unavailable": 1, "redis answers again": 1, "guesser": 0, "somebody": 0} {
		if got := strings.Count(logged.String(), line); got != want {
			t.Errorf("%q was logged %d times, want %d:\n%s", line, got, want, &logged)
		}
	}
	const want = `
# HELP classwaves_ratelimit_switches_total Switches between Redis and the insurance of this process, by where to.
# TYPE classwaves_ratelimit_switches_total counter
classwaves_ratelimit_switches_total{to="insurance"} 1
classwaves_ratelimit_switches_total{to="redis"} 1
# HELP classwaves_ratelimit_insured 1 while this process decides alone.
# TYPE classwaves_ratelimit_insured gauge
classwaves_ratelimit_insured 0
`
	if err := testutil.CollectAndCompare(l, strings.NewReader(want), "classwaves_ratelimit_switches_total", "classwaves_ratelimit_insured"); err != nil {
		t.Error(err)
	}
}

// The release before this one let everything through when Redis was gone: what the insurance is for.
func TestWithoutInsuranceEverythingPasses(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client(once)
	s.Kill()
	passed := 0
	for range 50 {
		if n, err := rdb.Incr(t.Context(), key(t, ratelimit.Auth, "somebody")).Result(); err != nil || n <= int64(ratelimit.Auth.Points) {
			passed++
		}
	}
	if passed != 50 {
		t.Errorf("%d of 50 passed", passed)
	}
}

// A host that hangs: connections stay open and nothing answers. The client has the read timeout and
// the retries of go-redis's defaults; a hit that waited for them would be 20 s long.
func TestHangingRedisDoesNotHangRequests(t *testing.T) {
	s := redistest.Start(t)
	for name, rdb := range map[string]redis.UniversalClient{
		"plain": s.Client(), "context": s.Client(func(o *redis.Options) { o.ContextTimeoutEnabled = true }),
		"rekey": newMember(t, s, phase.Hold).client,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiter(t, rdb, func(c *ratelimit.Config) { c.Timeout = 20 * time.Millisecond })
			redistest.WaitFor(t, patient, func() bool {
				d, err := l.Take(t.Context(), ratelimit.General, "u1")
				return err == nil && !d.Insured
			})
			s.Pause()
			answered := make(chan ratelimit.Decision)
			go func() {
				for range 3 {
					d, _ := l.Take(t.Context(), ratelimit.General, "u1") // the subject is valid
					answered <- d
				}
			}()
			for range 3 {
				if d := <-answered; !d.Allowed || !d.Insured {
					t.Errorf("%+v while the server was paused", d)
				}
			}
			// Only now: had a hit waited for the server, the test would not have come here.
			s.Continue()
			redistest.WaitFor(t, patient, func() bool {
				d, err := l.Take(t.Context(), ratelimit.General, "u1")
				return err == nil && !d.Insured
			})
		})
	}
}

// An outage at any moment of a walk is an outage like any other.
func TestInsuranceOverRekey(t *testing.T) {
	for _, at := range phase.Of(phase.Relocate) {
		t.Run(at.String(), func(t *testing.T) {
			s := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
			m := newMember(t, s, at)
			take(t, m.limiter, ratelimit.Auth, "u1")
			s.Kill()
			insured(t, m.limiter, ratelimit.Auth, "u1")
			s.Restart()
			redistest.WaitFor(t, patient, func() bool {
				d, err := m.limiter.Take(t.Context(), ratelimit.General, "poll")
				return err == nil && !d.Insured
			})
			if d := take(t, m.limiter, ratelimit.Auth, "u1"); d.Remaining != ratelimit.Auth.Points-2 {
				t.Errorf("after the restart: %+v, want the counter of before", d)
			}
		})
	}
}
