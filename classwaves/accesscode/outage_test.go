package accesscode_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

// backUp waits until Redis answers a client.
func backUp(t *testing.T, rdb redis.Cmdable) {
	t.Helper()
	redistest.WaitFor(t, patient, func() bool { return rdb.Ping(t.Context()).Err() == nil })
}

func TestDirectoryAnswersWithoutRedis(t *testing.T) {
	s, d := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always")), newDirectory()
	rdb := s.Client(once)
	var logged bytes.Buffer
	c, err := accesscode.New(accesscode.Config{
		Redis: rdb, Directory: d, Timeout: patient, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	code := create(t, c, "s1")

	s.Kill()
	if got := resolve(t, c, code); got != "s1" {
		t.Errorf("without Redis the code leads to %q", got)
	}
	if got := create(t, c, "s1"); got != code {
		t.Errorf("without Redis the session was given %q", got)
	}
	if got := resolve(t, c, "XXXXXX"); got != "" {
		t.Errorf("without Redis a code that nobody has leads to %q", got)
	}
	c.Draw(inTurn(code, "CCCCCC"))
	if got := create(t, c, "s2"); got != "CCCCCC" {
		t.Errorf("without Redis a second session was given %q", got)
	}
	// Not released: the pair is in Redis, and would lead whoever got the code next to s1.
	if err := c.Release(t.Context(), "s1"); !unavailable.Is(err) {
		t.Errorf("release without Redis: %v", err)
	}
	if got := create(t, c, "s1"); got != code {
		t.Errorf("after the failed release the session has %q", got)
	}

	// Both down: nobody knows, and nobody says "absent".
	d.set(func(d *directory) { d.down = true })
	if _, found, err := c.Resolve(t.Context(), code); found || !unavailable.Is(err) {
		t.Errorf("resolve with both down: %v, %v", found, err)
	}
	if got, err := c.Create(t.Context(), "s3"); got != "" || !unavailable.Is(err) {
		t.Errorf("create with both down: %q, %v", got, err)
	}
	if err := c.Release(t.Context(), "s1"); !unavailable.Is(err) {
		t.Errorf("release with both down: %v", err)
	}

	// The directory down: the pair that agrees is answered, everything else is not known.
	s.Restart()
	backUp(t, rdb)
	if got := resolve(t, c, code); got != "s1" {
		t.Errorf("without the directory the code leads to %q", got)
	}
	for _, unknown := range []string{"CCCCCC", "XXXXXX"} {
		if _, found, err := c.Resolve(t.Context(), unknown); found || !unavailable.Is(err) {
			t.Errorf("resolve %s without the directory: %v, %v", unknown, found, err)
		}
	}
	if err := c.Release(t.Context(), "s1"); !unavailable.Is(err) {
		t.Errorf("release without the directory: %v", err)
	}

	// Both back: what was given out meanwhile is there, and is written where it was missing.
	d.set(func(d *directory) { d.down = false })
	if got := resolve(t, c, "CCCCCC"); got != "s2" {
		t.Errorf("the code given out without Redis leads to %q", got)
	}
	wantPair(t, rdb, "s2", "CCCCCC")
	release(t, c, "s1")
	if got := resolve(t, c, code); got != "" {
		t.Errorf("the released code leads to %q", got)
	}
	for line, want := range map[string]int{"redis is unavailable": 1, "redis answers again": 1, "s1": 0, code: 0} {
		if got := strings.Count(logged.String(), line); got != want {
			t.Errorf("%q was logged %d times, want %d:\n%s", line, got, want, &logged)
		}
	}
	const want = `
# HELP classwaves_accesscode_redis_outages_total Times that Redis became unavailable and the database answered.
# TYPE classwaves_accesscode_redis_outages_total counter
classwaves_accesscode_redis_outages_total 1
# HELP classwaves_accesscode_resolved_total Codes that were looked up, by who answered (redis, directory) and result (found, absent, unavailable).
# TYPE classwaves_accesscode_resolved_total counter
classwaves_accesscode_resolved_total{by="directory",result="absent"} 2
classwaves_accesscode_resolved_total{by="directory",result="found"} 2
classwaves_accesscode_resolved_total{by="directory",result="unavailable"} 3
classwaves_accesscode_resolved_total{by="redis",result="found"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want),
		"classwaves_accesscode_redis_outages_total", "classwaves_accesscode_resolved_total"); err != nil {
		t.Error(err)
	}
}

// A code that went from one session to another while Redis kept the former pair: it cannot, because it
// is free only after Redis has forgotten it. The naive order lets it, and shows what for.
func TestFreeingTheCodeBeforeRedisForgetsLeadsAstray(t *testing.T) {
	for name, naive := range map[string]bool{"ours": false, "naive": true} {
		t.Run(name, func(t *testing.T) {
			s, d := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always")), newDirectory()
			rdb := s.Client(once)
			c := newCodes(t, rdb, d)
			c.Draw(inTurn("AAAAAA", "CCCCCC"))
			create(t, c, "s1")
			s.Kill()
			if err := c.Release(t.Context(), "s1"); !unavailable.Is(err) {
				t.Fatal(err)
			}
			if naive {
				if err := d.ReleaseCode(t.Context(), "s1"); err != nil {
					t.Fatal(err)
				}
			}
			c.Draw(inTurn("AAAAAA", "CCCCCC"))
			code := create(t, c, "s2")
			s.Restart()
			backUp(t, rdb)
			if got := resolve(t, c, code); (got != "s2") != naive {
				t.Errorf("the code of s2 leads to %q", got)
			}
		})
	}
}

// A host that hangs, and a client with the long timeouts and the retries of go-redis's defaults.
func TestHangingRedisDoesNotHangRequests(t *testing.T) {
	s, d := redistest.Start(t), newDirectory()
	rdb := s.Client()
	c, err := accesscode.New(accesscode.Config{Redis: rdb, Directory: d, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	code := create(t, c, "s1")
	s.Pause()
	answered := make(chan string)
	go func() {
		session, _, _ := c.Resolve(t.Context(), code) // what is wrong shows in the answer
		answered <- session
	}()
	// Only then: had it waited for the server, the test would not go on.
	if got := <-answered; got != "s1" {
		t.Errorf("while the server was paused the code leads to %q", got)
	}
	s.Continue()
}

// That a caller has gone says nothing about Redis.
func TestGoneCallerIsNoOutage(t *testing.T) {
	d := newDirectory()
	c := newCodes(t, redistest.Shared(t).Client(), d)
	code := create(t, c, "s1")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, found, err := c.Resolve(gone, code); found || !unavailable.Is(err) {
		t.Errorf("%v, %v", found, err)
	}
	const want = `
# HELP classwaves_accesscode_redis_outages_total Times that Redis became unavailable and the database answered.
# TYPE classwaves_accesscode_redis_outages_total counter
classwaves_accesscode_redis_outages_total 0
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "classwaves_accesscode_redis_outages_total"); err != nil {
		t.Error(err)
	}
}
