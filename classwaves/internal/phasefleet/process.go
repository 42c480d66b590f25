package phasefleet

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Plan is ClassWaves' plan in the environment test.
func Plan(t testing.TB) *plan.Plan {
	t.Helper()
	return planIn(t, "test")
}

func planIn(t testing.TB, environment string) *plan.Plan {
	t.Helper()
	p, err := classwaves.Plan(environment)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Open is one process in the environment test that the test leads itself: its instance of rekey, and a
// client through it. Both end with the test.
func Open(t testing.TB, server *redistest.Server, from rekey.Option, changes ...func(*redis.Options)) (*rekey.Rekey, *redis.Client) {
	t.Helper()
	r, err := rekey.Open(context.WithoutCancel(t.Context()), Plan(t), from)
	if err != nil {
		t.Fatal(err)
	}
	options := &redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil)}
	for _, change := range changes {
		change(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() {
		_ = client.Close() // the test may have closed it
		if err := r.Close(); err != nil {
			t.Errorf("close rekey: %v", err)
		}
	})
	return r, client
}

// At is rules in one phase.
func At(p phase.Phase, rules ...string) map[string]phase.Phase {
	out := make(map[string]phase.Phase, len(rules))
	for _, rule := range rules {
		out[rule] = p
	}
	return out
}

// Lead takes a process to phases, and waits until nothing of those before is under way.
func Lead(t testing.TB, r *rekey.Rekey, source *rekey.Manual, to map[string]phase.Phase) {
	t.Helper()
	source.Set(to)
	redistest.WaitFor(t, stepWithin, func() bool {
		now := r.Phases()
		for rule, p := range to {
			if now[rule] != p {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), stepWithin)
	defer cancel()
	if err := r.WaitReached(ctx); err != nil {
		t.Fatal(err)
	}
}
