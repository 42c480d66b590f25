package rekey_test

import (
	"context"
	"errors"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/phase"
)

// TestWaitReachedWaitsForTheSource: who has set phases and waits until they are reached may rely on them, though the
// instance follows in a goroutine of its own.
func TestWaitReachedWaitsForTheSource(t *testing.T) {
	source := rekey.NewManual(nil)
	r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithSource(source))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	for range 10 {
		for _, want := range []phase.Phase{phase.Guard, phase.Dual, phase.Settled, phase.Prefixed, phase.Legacy} {
			source.Set(map[string]phase.Phase{"sessions": want})
			must(t, r.WaitReached(t.Context()))
			if got := r.Phases()["sessions"]; got != want {
				t.Fatalf("in %v after WaitReached, want %v", got, want)
			}
		}
	}
}

// failing is a source that ends with its first change.
type failing struct {
	*rekey.Manual
	calls int
}

var errSource = errors.New("the source is gone")

func (f *failing) Phases(ctx context.Context) (map[string]phase.Phase, <-chan struct{}, error) {
	f.calls++
	phases, changed, err := f.Manual.Phases(ctx)
	if f.calls > 1 {
		err = errSource
	}
	return phases, changed, err
}

// TestWaitReachedAfterTheSourceFailed: phases that nobody follows are not told to be reached.
func TestWaitReachedAfterTheSourceFailed(t *testing.T) {
	source := &failing{Manual: rekey.NewManual(nil)}
	r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithSource(source))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	must(t, r.WaitReached(t.Context()))
	source.Set(map[string]phase.Phase{"sessions": phase.Guard})
	if err := r.WaitReached(t.Context()); !errors.Is(err, rekey.ErrNotFollowed) || !errors.Is(err, errSource) {
		t.Errorf("got %v, want ErrNotFollowed and why", err)
	}
	// Phases that do not exist end it as well.
	other := rekey.NewManual(nil)
	r2, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithSource(other))
	must(t, err)
	defer func() { must(t, r2.Close()) }()
	other.Set(map[string]phase.Phase{"nobody": phase.Guard})
	var wrong *rekey.PhaseError
	if err := r2.WaitReached(t.Context()); !errors.Is(err, rekey.ErrNotFollowed) || !errors.As(err, &wrong) {
		t.Errorf("got %v, want ErrNotFollowed and a *PhaseError", err)
	}
}
