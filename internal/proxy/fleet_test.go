package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// leaser is a client that writes and reads its own keys of a rule on its way, of a parked one, and says its name,
// in one pipeline. Every byte that it gets is foretold, but for the refusals of the first rule.
type leaser struct {
	id      int
	conn    net.Conn
	in      *bufio.Reader
	value   string // of its key of the rule on its way
	refused atomic.Int64
	served  atomic.Int64
}

func (l *leaser) round(n int) error {
	next := fmt.Sprintf("<%d.%d>", l.id, n)
	send := fmt.Sprintf("SET mi:%d %s\r\nSET mo:%[1]d %[2]s\r\nGET mi:%[1]d\r\nGET mo:%[1]d\r\nECHO %[2]s\r\n", l.id, next)
	if err := l.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(l.conn, send); err != nil {
		return err
	}
	bulk := func(v string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v) }
	for i := range 5 {
		reply, err := redistest.ReadReply(l.in)
		if err != nil {
			return err
		}
		if i%2 == 0 && i < 4 && strings.HasPrefix(string(reply), "-rekey: lease lost") {
			l.refused.Add(1)
			continue
		}
		if i == 0 {
			l.value = next
		}
		if want := []string{"+OK\r\n", "+OK\r\n", bulk(l.value), bulk(next), bulk(next)}[i]; string(reply) != want {
			return fmt.Errorf("round %d, reply %d: got %q, want %q", n, i, reply, want)
		}
		if i == 2 {
			l.served.Add(1)
		}
	}
	return nil
}

// TestSharedLeaseLost: the proxy cannot reach its records while clients share a connection. Commands of a rule on
// its way are refused before the lease can be taken for lost, those of a parked rule and of none go on, and when
// the records are back everything does. Nobody's connection ends, and nobody gets another's bytes.
func TestSharedLeaseLost(t *testing.T) {
	server, ctx := redistest.Start(t), t.Context()
	records := redistest.SlowLink(t, server.Addr())
	p := parsePlan(t, `url: "redis://`+records.Addr()+`"`, "rules:", "fleet: {lease: 4s, renew: 1s, margin: 500ms}\nrules:")
	bare := server.Client()
	store := fleet.NewStore(p, bare)
	r := startPlan(t, server, p, proxy.Limits{}, rekey.WithFleet(rekey.FleetConfig{Name: "proxy"}))
	step := func(to phase.Phase) {
		t.Helper()
		targets, err := store.Targets(ctx)
		must(t, err)
		next := targets["mirror"]
		next.Phase, next.Gen, next.Seq = to, 1, next.Seq+1
		text, err := json.Marshal(next)
		must(t, err)
		must(t, bare.HSet(ctx, store.Keys().Phase(), "mirror", text).Err())
		must(t, bare.Publish(ctx, store.Keys().Events(), "mirror").Err())
		waitFor(t, func() bool { return r.rekey.Phases()["mirror"] == to })
	}
	step(phase.Guard)
	step(phase.Dual)
	const clients = 8
	var all [clients]*leaser
	var work sync.WaitGroup
	var stop atomic.Bool
	for i := range all {
		conn := r.raw()
		l := &leaser{id: i, conn: conn, in: bufio.NewReader(conn)}
		all[i] = l
		work.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := l.round(n); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	defer func() { stop.Store(true); work.Wait() }()
	each := func(what func(*leaser) *atomic.Int64) {
		t.Helper()
		for _, l := range all {
			before := what(l).Load()
			waitFor(t, func() bool { return t.Failed() || what(l).Load() >= before+2 })
		}
	}
	refused := func(l *leaser) *atomic.Int64 { return &l.refused }
	served := func(l *leaser) *atomic.Int64 { return &l.served }
	each(served)
	records.Refuse()
	records.Cut()
	each(refused)
	waitFor(t, func() bool {
		instances, now, err := store.Instances(ctx)
		must(t, err)
		return len(instances) == 1 && instances[0].Lost(now)
	})
	var sent [clients]int64
	for i, l := range all {
		sent[i] = l.served.Load()
	}
	each(refused)
	for i, l := range all {
		if l.served.Load() != sent[i] {
			t.Errorf("client %d: commands were sent after the lease could be taken for lost", i)
		}
	}
	if n := r.rekey.Stats().Conns; n != 1 {
		t.Errorf("%d connections to the server, want one that all share", n)
	}
	records.Accept()
	each(served)
	stop.Store(true)
	work.Wait()
	for i, l := range all {
		for _, name := range []string{"mi:%d", "cw:test:mi:%d"} {
			if got := bare.Get(ctx, fmt.Sprintf(name, i)).Val(); got != l.value {
				t.Errorf("%s is %q, want %q", fmt.Sprintf(name, i), got, l.value)
			}
		}
	}
}
