package chaostest

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestLateBytes: a client gives a write up that is on its way and closes the connection. The instance says that it
// has reached the next phase only when the server has answered that there is no such connection any more, and a
// controller waits for it; so the write runs, if it does, while the fleet is in phases that bear it.
func TestLateBytes(t *testing.T) {
	s := newScene(t, careless{waits: true, shuts: true})
	r, err := rekey.Open(t.Context(), s.w.plan, rekey.WithFleet(rekey.FleetConfig{Name: "impatient"}))
	if err != nil {
		t.Fatal(err)
	}
	impatient := redis.NewClient(&redis.Options{
		Addr: s.data.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1, PoolSize: 1, ReadTimeout: 500 * time.Millisecond,
	})
	t.Cleanup(func() { _ = impatient.Close(); _ = r.Close() }) // the test has looked at what counts
	behind := make(chan struct{}, 1)
	c := s.controller(func(e control.Event) {
		for _, b := range e.Blockers {
			if e.From == phase.Dual && b.Reason == control.Behind {
				select {
				case behind <- struct{}{}:
				default:
				}
			}
		}
	})
	s.run(c, phase.Guard)
	redistest.WaitFor(t, time.Minute, func() bool { _, err := s.do(impatient, "GET", sceneKey); return err == nil })
	s.data.Stall(redistest.ToServer)
	_, err = s.do(impatient, "SET", sceneKey, "late")
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || s.data.Pending(redistest.ToServer) == 0 {
		t.Fatalf("the write: %v, with %d bytes on their way; want a timeout and some", err, s.data.Pending(redistest.ToServer))
	}

	walked := make(chan error, 1)
	go func() { walked <- c.Run(t.Context(), []string{"mirror"}, phase.Settled) }()
	select {
	case <-behind:
	case err := <-walked:
		t.Fatalf("the walk did not wait for the late write: %v", err)
	}
	redistest.WaitFor(t, time.Minute, func() bool {
		all, _, err := c.Store().Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(i fleet.Instance) bool {
			return i.Name == "impatient" && strings.Contains(i.Rules["mirror"].Behind, "closed connections are not known to be gone")
		})
	})
	s.set(s.two, "newer")
	s.data.Resume(redistest.ToServer)
	if err := <-walked; err != nil {
		t.Fatal(err)
	}
	s.found(false)
}
