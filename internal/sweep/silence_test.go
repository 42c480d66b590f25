package sweep_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// TestASilentServerIsTold long before the sweep would give a command up, and the sweep waits on. A backfill has pages under way
// then, a verify of hashes the client's own pipelines.
func TestASilentServerIsTold(t *testing.T) {
	t.Parallel()
	for _, job := range []struct {
		kind sweep.Kind
		gate phase.Gate
		seed func(c *redis.Client)
	}{
		{sweep.Backfill, phase.Copied, func(c *redis.Client) { seedKeys(t, c, "thing:", 1000) }},
		{sweep.Verify, phase.Verified, func(c *redis.Client) {
			do(t, c, "EVAL", `for i = 1, 1000 do redis.call('HSET', 'thing:' .. i, 'f', i); redis.call('COPY', 'thing:' .. i, 'cw:test:thing:' .. i) end`, 0)
		}},
	} {
		t.Run(job.kind.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Client()
			job.seed(client)
			pages, told := 0, false
			r := run(t, sweep.Options{
				Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: job.kind, Phase: phase.Dual, Page: 50,
				OnProgress: func(p sweep.Progress) {
					switch pages++; {
					case pages == 5:
						server.Pause()
					case !told && strings.HasPrefix(p.Reason, "no answer from the server for "):
						told = true
						if p.Matched < 200 || p.Passes == 0 {
							t.Errorf("nothing is said of how far it is: %+v", p)
						}
						server.Continue()
					}
				},
			})
			mustHold(t, r, job.gate)
			if !told || r.Verdict.Resumed != 0 {
				t.Errorf("told %v, resumed %d", told, r.Verdict.Resumed)
			}
		})
	}
}
