package walktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestWalkOverBadNetwork takes a fleet up and down while the connections of half of its instances
// break, in the middle of commands and replies, and while bytes of closed connections are held back
// and delivered later, when the walk would have gone on.
func TestWalkOverBadNetwork(t *testing.T) {
	for _, tt := range []struct {
		name   string
		routes []route
	}{
		{"mirror through settled", []route{{"mirror", settledWalk}}},
		{"mirror through drain", []route{{"mirror", drainWalk}}},
		{"move", []route{{"move", moveWalk}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			repeat(t, func(t *testing.T, seed uint64) {
				server := redistest.Shared(t)
				link := redistest.SlowLink(t, server.Addr())
				walkWithFaults(t, seed, server, tt.routes, func(i int) string {
					if i%2 == 0 {
						return link.Addr()
					}
					return server.Addr()
				}, 12, func(rng *rand.Rand, tr *traffic) error { return breakLink(rng, tr, link) })
			})
		})
	}
}

// TestWalkOverRestarts kills the server in the middle, several times, and brings it back with all
// that it has acknowledged. A kill takes the process and not the page cache, so the file need not be
// synchronised for that, only written before the reply, which "no" does as "always" does.
func TestWalkOverRestarts(t *testing.T) {
	for _, r := range []route{{"mirror", settledWalk}, {"move", moveWalk}} {
		t.Run(r.rule, func(t *testing.T) {
			repeat(t, func(t *testing.T, seed uint64) {
				server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync no", "save ''"))
				walkWithFaults(t, seed, server, []route{r}, direct(server), 3, func(rng *rand.Rand, tr *traffic) error {
					if err := tr.more(rng.Int64N(300)); err != nil {
						return err
					}
					server.Kill()
					server.Restart()
					return nil
				})
			})
		})
	}
}

// walkWithFaults walks in the background and makes faults meanwhile: few, since an operation of
// unknown outcome may have happened at any time from then on, and the checker has to try them all.
func walkWithFaults(t *testing.T, seed uint64, server *redistest.Server, routes []route, addr func(int) string, faults int, fault func(*rand.Rand, *traffic) error) {
	t.Helper()
	began := time.Now()
	f := newFleet(t, server, seed, addr, routes...)
	tr := newTraffic(t, seed, kinds(), prefixes(routes)...)
	f.patient, tr.recovered = true, reachable(server)
	begin(t, f, tr, routes)
	walked := make(chan error, 1)
	go func() {
		err := f.walk(t.Context(), tr, routes...)
		if err != nil {
			tr.fail(fmt.Errorf("stopped by the walk: %w", err)) // nobody has to wait for its next change
		}
		walked <- err
	}()
	rng := rand.New(rand.NewPCG(seed, 1<<33))
	total := int64(0)
	for _, r := range routes {
		total += int64((len(r.phases) - 1) * instances)
	}
	for n := range faults {
		// All over the walk, and between two changes as often as behind a step's last.
		due := total * int64(n) / int64(faults)
		err := until(tr.stopped, "the next change", func() (bool, error) { return f.changes.Load() >= due, nil })
		if err = errors.Join(err, fault(rng, tr)); err != nil && tr.stopped.Err() == nil {
			t.Fatalf("fault %d: %v", n, err)
		}
	}
	if err := <-walked; err != nil {
		t.Errorf("walk: %v", err)
	}
	if err := tr.end(); err != nil {
		t.Errorf("traffic: %v", err)
	}
	tr.check(t)
	if n := f.divergences(); n > 0 {
		t.Errorf("%d divergences between the two replies of a replayed write, want 0", n)
	}
	t.Logf("seed %d: %d operations, %d of unknown outcome, %d faults in %v",
		seed, tr.done.Load(), tr.unknown.Load(), faults, time.Since(began).Round(time.Millisecond))
}

// breakLink makes one fault of a network.
func breakLink(rng *rand.Rand, tr *traffic, link *redistest.Link) error {
	if err := tr.more(rng.Int64N(300)); err != nil {
		return err
	}
	toServer := redistest.ToServer
	switch rng.IntN(4) {
	case 0:
		link.Cut()
	case 1, 2:
		direction := redistest.Direction(rng.IntN(2))
		link.CutAfter(direction, rng.Int64N(400)) // in the middle of a command, or of a reply
		err := tr.more(60)
		link.Resume(direction)
		return err
	default:
		link.Stall(toServer)
		err := until(tr.stopped, "bytes under way", func() (bool, error) { return link.Pending(toServer) > 0, nil })
		link.CutClients()
		// The others go on, and so would the walk.
		err = errors.Join(err, tr.more(100))
		link.Resume(toServer)
		return err
	}
	return nil
}

// reachable waits until the server answers a connection of its own, which needs neither a pool nor
// the bad network.
func reachable(server *redistest.Server) func(context.Context) error {
	addr := server.Addr()
	return func(ctx context.Context) error {
		return until(ctx, "the server", func() (bool, error) {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return false, nil
			}
			defer func() { _ = conn.Close() }() // was asked for one reply
			if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
				return false, nil
			}
			reply := make([]byte, 7)
			if _, err := conn.Write([]byte("PING\r\n")); err != nil {
				return false, nil
			}
			n, err := conn.Read(reply)
			return err == nil && string(reply[:n]) == "+PONG\r\n", nil
		})
	}
}
