package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// A server that goes away in the middle of a run, and comes back with its data, is waited for, and said so; the run ends
// the walk, and the next one has nothing left to do.
func TestServerGoesAwayDuringARun(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	text := fmt.Sprintf(walkPlan, server.URL())
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	bare := server.Client(func(o *redis.Options) { o.ClientName = "tester" })
	w := &walked{bench: &bench{t, server, bare, planFile(t, text)}, plan: p}
	for i := range walkedKeys {
		w.set("SET", fmt.Sprintf("secure_session:%d", i), i)
		w.set("SET", fmt.Sprintf("rl:auth:%d", i), i)
	}
	m, err := rekey.Open(t.Context(), p, rekey.WithFleet(rekey.FleetConfig{Name: "web-1"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	out := new(growing)
	code := make(chan int, 1)
	go func() {
		code <- Run(t.Context(), []string{"run", "--yes", "--soak", "3s", "-f", w.path, "--redis", server.URL()}, strings.NewReader(""), out, out,
			func(string) (string, bool) { return "", false })
	}()
	redistest.WaitFor(t, 30*time.Second, func() bool { return strings.Contains(out.String(), "soaks: ") })
	server.Kill()
	redistest.WaitFor(t, 30*time.Second, func() bool { return strings.Contains(out.String(), "tries again: rekey: ") || len(code) > 0 })
	server.Restart()
	if got := <-code; got != exitDone || !strings.Contains(out.String(), "tries again: rekey: ") {
		t.Errorf("exit code %d:\n%s", got, out.String())
	}
	if next := w.run(exitDone, "run", "--yes"); !strings.Contains(next.stdout, "at prefixed: sessions, limits") {
		t.Errorf("the next run: %s", next.stdout)
	}
	w.keysAre("cw:prod:", "")
}
