package rekey_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestAddedTime: one in sixteen writes and reads of a connection is measured.
func TestAddedTime(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	r, err := rekey.Open(ctx, loadPlan(t, testPlan), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), PoolSize: 1})
	defer func() { must(t, rdb.Close()) }()
	const commands = 160
	for range commands {
		must(t, rdb.Set(ctx, "secure_session:1", "v", 0).Err())
	}
	h := r.Stats().Added
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	// Each command is a write and at least a read; a greeting goes before them.
	if n < 2*commands/16 || n > 4*commands/16 || h.Sum <= 0 || len(h.Counts) != len(h.Bounds)+1 {
		t.Errorf("%d calls measured, of %d commands, in %v", n, commands, h.Sum)
	}
}
