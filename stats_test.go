package rekey_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestAddedTime: one in sixteen writes and reads of a connection is measured, and the commands of one in sixteen
// writes by rule and class.
func TestAddedTime(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	r, err := rekey.Open(ctx, loadPlan(t, testPlan), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), PoolSize: 1})
	defer func() { must(t, rdb.Close()) }()
	const commands = 4000
	for range commands {
		must(t, rdb.Set(ctx, "secure_session:1", "v", 0).Err())
	}
	s := r.Stats()
	// Each command is a write and at least a read; a greeting goes before them. Which are measured is left to chance.
	if n := measured(t, s.Added); n < commands/16 || n > 4*commands/16 {
		t.Errorf("%d calls measured, of %d commands", n, commands)
	}
	byClass := s.Rules["sessions"].Added
	if n := measured(t, byClass["overwrite"]); n < commands/32 || n > commands/8 || len(byClass) != 1 {
		t.Errorf("%d commands measured, of %d, and classes %v", n, commands, byClass)
	}
}

// measured is how many durations a histogram holds.
func measured(t testing.TB, h rekey.Histogram) (n uint64) {
	t.Helper()
	for _, c := range h.Counts {
		n += c
	}
	if h.Sum <= 0 || len(h.Counts) != len(h.Bounds)+1 {
		t.Errorf("%d measured in %v, in %d buckets of %d bounds", n, h.Sum, len(h.Counts), len(h.Bounds))
	}
	return n
}
