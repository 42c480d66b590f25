package faulttest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestLateBytes: bytes outlive a socket. A connection sends a write, the network holds it, the
// client gives up and closes. Whatever phase it was sent under, the instance has not reached the
// next one before that write can no longer run.
func TestLateBytes(t *testing.T) {
	for _, s := range stages() {
		walk := phase.Walk(s.strategy)
		for _, to := range walk {
			if to == s.phase || !phase.Beside(s.strategy, s.phase, to) {
				continue
			}
			t.Run(s.String()+" to "+to.String(), func(t *testing.T) {
				server := redistest.Shared(t)
				link := redistest.SlowLink(t, server.Addr())
				bare := server.Conn()
				source := rekey.NewManual(s.phases())
				r := open(t, rekey.WithSource(source))
				c := connect(t, r, link.Addr())
				want(t, c, "OK", "SET", s.legacy("k"), "before")

				redistest.WaitFor(t, 5*time.Second, func() bool { return link.Pending(redistest.ToServer) == 0 })
				link.Stall(redistest.ToServer)
				c.Send("SET", s.legacy("k"), "late")
				redistest.WaitFor(t, 5*time.Second, func() bool { return link.Pending(redistest.ToServer) > 0 })
				c.Close()
				follow(t, r, source, map[string]phase.Phase{s.rule(): to})
				// The server cannot be asked over the stalled link: to be sure is not possible.
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				var behind *rekey.ReachError
				if err := r.WaitReached(ctx); !errors.As(err, &behind) || behind.Closed != 1 {
					t.Errorf("WaitReached with a write on its way: %v, want an error that counts one closed connection", err)
				}
				link.Resume(redistest.ToServer)
				reached(t, r)
				after := text(bare.Do("MGET", s.legacy("k"), s.target("k")))
				want(t, bare, "OK", "SET", "marker", "1")
				redistest.WaitFor(t, 20*time.Second, func() bool { return link.Pending(redistest.ToServer) == 0 })
				want(t, bare, after, "MGET", s.legacy("k"), s.target("k")) // nothing came afterwards
			})
		}
	}
}

// TestLateBytesOverAnotherRoad is the same where the instance can reach the server while the bytes
// hang: the server's own word that it killed the connection, by its CLIENT ID, is what ends the
// wait. The address that the client sees is not the one that the server sees, as behind any proxy,
// so a kill by address would find nobody and prove nothing: that is shown first.
func TestLateBytesOverAnotherRoad(t *testing.T) {
	for _, s := range stages() {
		to, ok := phase.Next(s.strategy, s.phase, otherEnd(s))
		if !ok {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			server := redistest.Shared(t)
			link := redistest.SlowLink(t, server.Addr())
			bare := server.Conn()
			source := rekey.NewManual(s.phases())
			r := open(t, rekey.WithSource(source))
			conn, err := firstOver(r, link.Addr())(t.Context(), "tcp", server.Addr())
			must(t, err)
			// The kernel gives one port to two connections that go to different addresses, now and then.
			for strings.Contains(text(bare.Do("CLIENT", "LIST")), " addr="+conn.LocalAddr().String()+" ") {
				must(t, conn.Close())
				conn, err = firstOver(r, link.Addr())(t.Context(), "tcp", server.Addr())
				must(t, err)
			}
			c := redistest.NewConn(t, conn)
			want(t, c, "OK", "SET", s.legacy("k"), "before")
			want(t, bare, "0", "CLIENT", "KILL", "ADDR", conn.LocalAddr().String())

			link.Stall(redistest.ToServer)
			c.Send("SET", s.legacy("k"), "late")
			redistest.WaitFor(t, 5*time.Second, func() bool { return link.Pending(redistest.ToServer) > 0 })
			c.Close()
			follow(t, r, source, map[string]phase.Phase{s.rule(): to})
			reached(t, r)
			before := text(bare.Do("MGET", s.legacy("k"), s.target("k")))
			link.Resume(redistest.ToServer)
			redistest.WaitFor(t, 20*time.Second, func() bool { return link.Conns() == 0 })
			want(t, bare, before, "MGET", s.legacy("k"), s.target("k"))
		})
	}
}

// otherEnd is the parked phase to which a rule in the stage is walked.
func otherEnd(s stage) phase.Phase {
	if s.phase == phase.Prefixed {
		return phase.Legacy
	}
	return phase.Prefixed
}

// firstOver dials the first connection over another address and all later ones directly.
func firstOver(r *rekey.Rekey, addr string) rekey.DialFunc {
	var dialed atomic.Bool
	return r.Dialer(func(ctx context.Context, network, direct string) (net.Conn, error) {
		if dialed.CompareAndSwap(false, true) {
			direct = addr
		}
		var d net.Dialer
		return d.DialContext(ctx, network, direct)
	})
}

// TestUnblockThatComesEarly: the instance asks the server to end a blocking command of the phase
// before, while that command is still on its way. The server has nothing to end then and says so;
// it must be asked again, or the walk waits for as long as the command does, here for ever.
func TestUnblockThatComesEarly(t *testing.T) {
	server := redistest.Shared(t)
	link := redistest.SlowLink(t, server.Addr())
	bare := server.Conn()
	source := rekey.NewManual(nil)
	r := open(t, rekey.WithSource(source))
	conn, err := firstOver(r, link.Addr())(t.Context(), "tcp", server.Addr())
	must(t, err)
	c := redistest.NewConn(t, conn)
	want(t, c, "nil", "LPOP", "mi:q")
	// The session asks for its CLIENT ID at the latest now; after that only the BLPOP is held.
	want(t, c, "nil", "BLPOP", "mi:q", "0.01")

	link.Stall(redistest.ToServer)
	c.Send("BLPOP", "mi:q", "0")
	redistest.WaitFor(t, 5*time.Second, func() bool { return link.Pending(redistest.ToServer) > 0 })
	calls := unblocks(bare)
	replies := read(t, conn)
	follow(t, r, source, map[string]phase.Phase{"mirror": phase.Guard})
	redistest.WaitFor(t, 20*time.Second, func() bool { return unblocks(bare) > calls })
	link.Resume(redistest.ToServer)
	reached(t, r)
	want(t, bare, "1", "RPUSH", "mi:q", "v")
	replies.want("[mi:q v]")
}

// unblocks is how often CLIENT UNBLOCK ran on the server.
func unblocks(bare *redistest.Conn) int {
	return calls(text(bare.Do("INFO", "commandstats")), "client|unblock")
}
