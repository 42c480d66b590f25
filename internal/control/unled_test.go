package control_test

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// An unled sweep, which runs by the operator's word, is in no controller's records. A target that is set removes the
// sweep's record, by which alone its connections are known: what it sent before does not come after the target.
func TestAnUnledSweepIsClosedBeforeATargetIsSet(t *testing.T) {
	for _, c := range []struct {
		name   string
		rule   string
		kind   sweep.Kind
		at     phase.Phase // the operator's word
		target string
		set    func(w *world)
	}{
		{"restored", "limits", sweep.Relocate, phase.Move, "cw:test:limit:*", func(w *world) {
			if err := w.open(w.options()).RestorePhase(t.Context(), "limits", phase.Legacy); err != nil {
				t.Error(err)
			}
		}},
		{"stepped", "sessions", sweep.Backfill, phase.Dual, "cw:test:session:*", func(w *world) {
			w.join("a")
			w.run(phase.Guard, "sessions")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testPlan)
			w.fill(500)
			link := redistest.SlowLink(t, w.server.Addr())
			through := w.server.Client(func(o *redis.Options) {
				o.Network, o.Addr, o.Dialer, o.ClientName, o.MaxRetries = "tcp", link.Addr(), nil, "rekey", -1
			})
			var once sync.Once
			stalled, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := sweep.Run(context.Background(), sweep.Options{
					Client: through, Plan: w.plan, Rule: c.rule, Kind: c.kind, Phase: c.at, Page: 20, Execute: true,
					OnProgress: func(p sweep.Progress) {
						if p.Changed > 0 {
							once.Do(func() { link.Stall(redistest.ToServer); close(stalled) })
						}
					},
				})
				ended <- err
			}()
			<-stalled
			redistest.WaitFor(t, within, func() bool { return link.Pending(redistest.ToServer) > 0 })

			c.set(w)
			before := w.exists(c.target)
			if before == 0 || before == 500 {
				t.Fatalf("the sweep has changed %d keys of 500: the test shows nothing", before)
			}
			link.Resume(redistest.ToServer)
			<-ended
			if after := w.exists(c.target); after != before {
				t.Errorf("the sweep changed %d keys after the target was set", after-before)
			}
		})
	}
}
