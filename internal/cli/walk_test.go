package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// walkPlan has leases that a test can wait for, and no soak worth the name.
const walkPlan = `version: 1
environment: prod
control_prefix: "cw:{env}:rekey:"
server: {url: "%s"}
fleet: {lease: 2s, renew: 200ms, margin: 500ms}
soak: 300ms
audit: {allow: [tester]}
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

// walked is a real fleet on a real server, with traffic whose every reply is checked.
type walked struct {
	*bench
	plan  *plan.Plan
	stop  context.CancelFunc
	work  sync.WaitGroup
	count []int64 // by client, what its own counter must be
}

const walkedKeys = 300

func newWalked(t *testing.T, instances int) *walked {
	t.Helper()
	server := redistest.Start(t)
	text := fmt.Sprintf(walkPlan, server.URL())
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	bare := server.Client(func(o *redis.Options) { o.ClientName = "tester" })
	w := &walked{bench: &bench{t, server, bare, planFile(t, text)}, plan: p, count: make([]int64, instances)}
	for i := range walkedKeys {
		w.set("SET", fmt.Sprintf("secure_session:%d", i), i)
		w.set("SET", fmt.Sprintf("rl:auth:%d", i), i)
	}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	for i := range instances {
		w.join(ctx, i)
	}
	t.Cleanup(func() { stop(); w.work.Wait() })
	return w
}

// join starts an instance that works until the test ends.
func (w *walked) join(ctx context.Context, n int) {
	w.t.Helper()
	m, err := rekey.Open(ctx, w.plan, rekey.WithFleet(rekey.FleetConfig{Name: fmt.Sprintf("web-%d", n+1), Version: "v1.0.0"}))
	if err != nil {
		w.t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: m.Dialer(nil), MaxRetries: -1, ContextTimeoutEnabled: true})
	w.work.Go(func() {
		err := w.traffic(ctx, c, n)
		if err := errors.Join(err, c.Close(), m.Close()); err != nil {
			w.t.Errorf("web-%d: %v", n+1, err)
		}
	})
}

// traffic uses keys of both rules, and checks what it gets.
func (w *walked) traffic(ctx context.Context, c *redis.Client, n int) error {
	work := context.WithoutCancel(ctx)
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprint(i % walkedKeys)
		for _, name := range []string{"secure_session:" + id, "rl:auth:" + id} {
			if got, err := c.Get(work, name).Result(); err != nil || got != id {
				return fmt.Errorf("GET %s: %q, %w", name, got, err)
			}
		}
		for _, name := range []string{"secure_session:count", "rl:auth:count"} {
			got, err := c.Incr(work, fmt.Sprintf("%s%d", name, n)).Result()
			if err != nil || got != int64(i+1) {
				return fmt.Errorf("INCR %s: %d, want %d: %w", name, got, i+1, err)
			}
		}
		w.count[n] = int64(i + 1)
	}
	return nil
}

// keysAre checks which names there are, and their values.
func (w *walked) keysAre(here, gone string) {
	w.t.Helper()
	for i := range walkedKeys {
		for _, name := range []string{"secure_session:%d", "rl:auth:%d"} {
			name := fmt.Sprintf(name, i)
			if got := w.get(here + name); got != fmt.Sprint(i) {
				w.t.Fatalf("%s is %q, want %d", here+name, got, i)
			}
			if got := w.get(gone + name); got != "" {
				w.t.Fatalf("%s is still %q", gone+name, got)
			}
		}
	}
	for n, want := range w.count {
		for _, name := range []string{"secure_session:count", "rl:auth:count"} {
			name := fmt.Sprintf("%s%d", name, n)
			if got := w.get(here + name); got != fmt.Sprint(want) {
				w.t.Errorf("%s is %q, want %d", here+name, got, want)
			}
		}
	}
}

// TestRunAndRollback walks a real fleet under traffic from legacy to prefixed, unattended, and back.
func TestRunAndRollback(t *testing.T) {
	w := newWalked(t, 3)
	dry := w.run(exitDone, "run", "--dry-run")
	if !strings.Contains(dry.stdout, "Nothing was changed.") || !strings.Contains(dry.stdout, "sessions, legacy to prefixed") {
		t.Fatalf("got %s", dry.stdout)
	}
	run := w.run(exitDone, "run", "--yes")
	for _, want := range []string{"sessions  legacy to guard", "sessions  guard to dual", "sessions  dual to settled", "sessions  sealed to prefixed", "limits    move to prefixed", "at prefixed: sessions, limits", "Next: rekey fence"} {
		if !strings.Contains(run.stdout, want) {
			t.Errorf("no %q in\n%s", want, run.stdout)
		}
	}
	status := w.run(exitDone, "status")
	for _, want := range []string{"3 instances: 3 live", "3 of 3", "prefixed", "Next: rekey fence"} {
		if !strings.Contains(status.stdout, want) {
			t.Errorf("no %q in\n%s", want, status.stdout)
		}
	}
	if log := w.run(exitDone, "log", "sessions"); !strings.Contains(log.stdout, "sealed to prefixed") {
		t.Errorf("got %s", log.stdout)
	}
	if again := w.run(exitDone, "run", "--yes"); !strings.Contains(again.stdout, "at prefixed: sessions, limits") {
		t.Errorf("a second run: %s", again.stdout)
	}

	back := w.run(exitDone, "rollback")
	for _, want := range []string{"sessions  dual to guard", "sessions  guard to legacy", "limits    hold to legacy", "at legacy: sessions, limits", "Next: rekey purge --all"} {
		if !strings.Contains(back.stdout, want) {
			t.Errorf("no %q in\n%s", want, back.stdout)
		}
	}
	w.run(exitDone, "purge", "--all", "--execute")
	w.stop()
	w.work.Wait()
	w.keysAre("", "cw:prod:")
	if testing.Verbose() {
		t.Logf("%s\n%s\n%s", dry.stdout, run.stdout, back.stdout)
	}
}
