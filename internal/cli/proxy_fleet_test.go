package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
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
	w.killRun()
	w.finishRun()
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
