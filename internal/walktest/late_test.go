package walktest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// TestLateBytes closes a connection whose last write is still on its way, and lets the bytes arrive
// in a later phase: they would take what was acknowledged meanwhile. WaitReached must not pass them;
// where nobody counts closed connections, the value is lost.
func TestLateBytes(t *testing.T) {
	for _, r := range []route{
		{"mirror", []phase.Phase{phase.Guard, phase.Dual, phase.Settled}}, // late: SET L, UNLINK P
		{"mirror", []phase.Phase{phase.Sealed, phase.Dual, phase.Guard}},  // late: SET P, UNLINK L
		{"move", []phase.Phase{phase.Hold, phase.Move, phase.Prefixed}},   // late: bring P home, SET L
		{"move", []phase.Phase{phase.Move, phase.Hold, phase.Legacy}},     // late: bring L over, SET P
	} {
		name := r.rule + " from " + r.phases[0].String() + " to " + r.phases[2].String()
		t.Run(name, func(t *testing.T) {
			l := newLate(t, r, func(f *fleet) dialer { return f.instances[0].r.Dialer(nil) })
			l.writeAndClose(t)
			l.heldUp(t)
			l.link.Resume(redistest.ToServer)
			l.walk(t)
			l.gone(t)
			if ok := l.judge(t); !ok {
				t.Error("the history is not linearizable, though the walk has waited")
			}
		})
		t.Run(name+" uncounted", func(t *testing.T) {
			l := newLate(t, r, func(f *fleet) dialer { return uncounted(f.plan, r) })
			l.writeAndClose(t)
			l.walk(t)
			l.link.Resume(redistest.ToServer)
			l.gone(t)
			if ok := l.judge(t); ok {
				t.Error("the history is linearizable, though late bytes came into another phase")
			}
		})
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// uncounted dials as an instance does whose WaitReached takes closed connections for gone.
func uncounted(p *plan.Plan, r route) dialer {
	rules := &intercept.Rules{Set: p.Names(), Stats: intercept.NewStats(p.Names().Len())}
	phases := make([]phase.Phase, len(p.Rules))
	for i, rule := range p.Rules {
		phases[i] = phase.Legacy
		if rule.Name == r.rule {
			phases[i] = r.phases[0]
		}
	}
	rules.SetTable(&intercept.Table{Version: 1, Phases: phases})
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return intercept.NewConn(conn, rules, intercept.Hooks{}), nil
	}
}

// TestLateBytesOfLegacy is the same for the first step, on which a connection has never been told
// apart: at legacy nothing but the application's own commands is on the wire.
func TestLateBytesOfLegacy(t *testing.T) {
	for _, r := range []route{
		{"mirror", []phase.Phase{phase.Legacy, phase.Guard}},
		{"mirror", []phase.Phase{phase.Prefixed, phase.Sealed}},
		{"move", []phase.Phase{phase.Legacy, phase.Hold}},
		{"move", []phase.Phase{phase.Prefixed, phase.Move}},
	} {
		t.Run(r.rule+" from "+r.phases[0].String(), func(t *testing.T) {
			l := newLate(t, r, func(f *fleet) dialer { return f.instances[0].r.Dialer(nil) })
			l.writeAndClose(t)
			l.heldUp(t)
			l.link.Resume(redistest.ToServer)
			l.walk(t)
		})
	}
}

// late is a fleet of which one instance has a bad network.
type late struct {
	route route
	fleet *fleet
	tr    *traffic
	link  *redistest.Link
	conn  net.Conn // over the link
}

// lateName is the connection's name on the server.
const lateName = "late"

func newLate(t *testing.T, r route, dial func(*fleet) dialer) *late {
	t.Helper()
	seed := seedOf(t)
	server := redistest.Shared(t)
	l := &late{route: r, link: redistest.SlowLink(t, server.Addr())}
	l.fleet = newFleet(t, server, seed, direct(server), r)
	l.fleet.pause = 0
	l.tr = newTraffic(t, seed, []kind{registers()}, r.rule)
	var err error
	if l.conn, err = dial(l.fleet)(t.Context(), "tcp", l.link.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.conn.Close() }) // closed before, unless the test has failed
	return l
}

// writeAndClose makes the keys, and a write of one that is under way when its connection is closed.
func (l *late) writeAndClose(t *testing.T) {
	t.Helper()
	if err := l.tr.create(l.fleet.any()); err != nil {
		t.Fatal(err)
	}
	conn := redistest.NewConn(t, l.conn)
	conn.Do("CLIENT", "SETNAME", lateName)
	conn.Do("GET", l.key()) // the engine asks the server what it wants to know before the first
	l.link.Stall(redistest.ToServer)
	op := history.Op{Name: "SET", Key: l.key(), Args: []string{"late"}}
	_, err := l.tr.recorders["register"].Client().Do(op, func() (history.Reply, error) {
		conn.Send(op.Name, op.Key, op.Args[0])
		redistest.WaitFor(t, 10*time.Second, func() bool { return l.link.Pending(redistest.ToServer) > 0 })
		if err := l.conn.Close(); err != nil {
			return history.Reply{}, err
		}
		return history.Reply{}, errNetwork
	})
	if !errors.Is(err, errNetwork) {
		t.Fatal(err)
	}
}

func (l *late) key() string { return l.route.rule + ":register:hot0" }

// heldUp wants the first step to be held up by the closed connection.
func (l *late) heldUp(t *testing.T) {
	t.Helper()
	in := l.fleet.instances[0]
	in.source.Set(map[string]phase.Phase{l.route.rule: l.route.phases[1]})
	redistest.WaitFor(t, 10*time.Second, func() bool { return in.r.Phases()[l.route.rule] == l.route.phases[1] })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var reach *rekey.ReachError
	if err := in.r.WaitReached(ctx); !errors.As(err, &reach) || reach.Closed != 1 {
		t.Fatalf("WaitReached beside late bytes: got %v, want a *ReachError about one closed connection", err)
	}
}

func (l *late) walk(t *testing.T) {
	t.Helper()
	if err := l.fleet.walk(t.Context(), l.tr, l.route); err != nil {
		t.Fatal(err)
	}
}

// gone waits until the server has no such client any more, so that it has run its last bytes.
func (l *late) gone(t *testing.T) {
	t.Helper()
	redistest.WaitFor(t, 10*time.Second, func() bool {
		list, err := l.fleet.bare.ClientList(t.Context()).Result()
		return err == nil && !strings.Contains(list, "name="+lateName+" ")
	})
}

// judge reads every key once more.
func (l *late) judge(t *testing.T) (linearizable bool) {
	t.Helper()
	if err := l.tr.readAll(l.fleet.any()); err != nil {
		t.Fatal(err)
	}
	ok, err := l.tr.linearizable()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
