package sweep_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// TestThrottleHearsTheServer: a real server that forks, and one whose replica hangs, hold a sweep back, and the sweep says
// why. When that is over it goes on.
func TestThrottleHearsTheServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		class, says string
		server      func(t *testing.T) (server *redistest.Server, harm, mend func())
	}{
		{"fork", "half speed during an RDB save", func(t *testing.T) (*redistest.Server, func(), func()) {
			server := redistest.Start(t, redistest.WithConfig("rdb-key-save-delay 3000")) // µs a key
			client := server.Client()
			return server, func() { do(t, client, "BGSAVE") }, func() {
				do(t, client, "CONFIG", "SET", "rdb-key-save-delay", 0) // of the next one; this one ends with the server
			}
		}},
		{"replica", "MiB behind", func(t *testing.T) (*redistest.Server, func(), func()) {
			server := redistest.Start(t)
			replica := server.Replica()
			client := server.Client()
			t.Cleanup(replica.Continue)
			return server, func() {
				replica.Pause()
				for i := range 10 {
					do(t, client, "SET", fmt.Sprintf("somebody:%d", i), strings.Repeat("x", 4<<20))
				}
			}, replica.Continue
		}},
	} {
		t.Run(c.class, func(t *testing.T) {
			server, harm, mend := c.server(t)
			client := server.Client()
			var pings atomic.Int64
			slow := interrupted(server, func(sent []byte) {
				if !sends(sent, "ping") {
					return
				}
				switch pings.Add(1) {
				case 3, 40: // in two of the three looks at the idle server
					// Slow before the first page already: then latency is nothing that the sweep heeds, however busy the
					// machine is.
					do(t, client, "DEBUG", "SLEEP", "0.3")
				}
			})
			seedKeys(t, client, "thing:", 4000)
			p := parse(t, testPlan)
			turn(t, client, p, "things", sweep.Knobs{Paused: ptr(true)}) // while the signal comes
			paused, heard := 0, false
			r := run(t, sweep.Options{
				Client: slow, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 10, Throttled: true,
				OnProgress: func(now sweep.Progress) {
					switch {
					case strings.HasPrefix(now.Reason, "paused by"):
						if paused++; paused == 1 {
							harm()
						}
						if paused == 15 { // the throttle has looked some times since
							turn(t, client, p, "things", sweep.Knobs{Paused: ptr(false)})
						}
					case !heard && strings.HasPrefix(now.Reason, c.class+": ") && strings.Contains(now.Reason, c.says):
						heard = true
						mend()
					}
				},
			})
			mustHold(t, r, phase.Copied)
			if !heard || r.Held[c.class] == 0 {
				t.Errorf("it never said so: held %v", r.Held)
			}
		})
	}
}
