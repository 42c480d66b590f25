package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestControllerKilledBesideProxies kills a controller with -9 in the middle of a walk, while clients work through
// shared connections of two proxies, with every reply checked. The next one goes on from where the fleet is, and
// finishes.
func TestControllerKilledBesideProxies(t *testing.T) {
	const clients = 8
	w := newWalked(t, 0)
	w.count = make([]int64, clients)
	ctx, stop := context.WithCancel(t.Context())
	var proxies []*proxyProcess
	for n := range 2 {
		proxies = append(proxies, startProxy(t, "-f", w.path, "--name", fmt.Sprintf("proxy-%d", n+1), "--upstreams", "shared"))
	}
	for n := range clients {
		c := redis.NewClient(&redis.Options{Addr: proxies[n%2].addr, MaxRetries: -1, PoolSize: 1, DisableIdentity: true})
		w.work.Go(func() {
			if err := errors.Join(w.traffic(ctx, c, n), c.Close()); err != nil {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	t.Cleanup(func() { stop(); w.work.Wait() })
	out := new(growing)
	run := exec.Command(os.Args[0], "run", "--yes", "--soak", "1h", "-f", w.path, "--redis", w.server.URL())
	run.Env = append(os.Environ(), asProgram+"=1", "GOCOVERDIR="+t.TempDir())
	run.Stdout, run.Stderr = out, out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() }) // it is killed and waited for already, where nothing failed
	redistest.WaitFor(t, lostWithin, func() bool { return strings.Contains(out.String(), "soaks: ") })
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait() // killed, as it was to be
	var last cliRun
	redistest.WaitFor(t, 2*lostWithin, func() bool {
		last = runCLI(t, nil, "run", "--yes", "-f", w.path, "--redis", w.server.URL())
		return !strings.Contains(last.stderr, "walks the fleet")
	})
	mustExit(t, exitDone, last)
	if strings.Contains(last.stdout, "sessions  guard to dual") {
		t.Errorf("it has begun anew:\n%s", last.stdout)
	}
	stop()
	w.work.Wait()
	w.keysAre("cw:prod:", "")
	for _, p := range proxies {
		p.signal(syscall.SIGTERM)
		if code := p.ends(); code != exitDone {
			t.Errorf("exit code %d: %s", code, p.said())
		}
	}
}
