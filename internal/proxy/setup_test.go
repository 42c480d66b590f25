package proxy_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// testPlan has one rule of each strategy.
const testPlan = `
version: 1
environment: test
server: {evicts: false}
rules:
  - {name: mirror, legacy: "mi:{id...}", target: "cw:{env}:mi:{id...}", strategy: mirror}
  - {name: move, legacy: "mo:{id...}", target: "cw:{env}:mo:{id...}", strategy: move}
`

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// running is a proxy in front of a server, on a loopback port.
type running struct {
	*proxy.Proxy
	t     testing.TB
	addr  string
	rekey *rekey.Rekey
	ended bool
}

// start runs a proxy that is drained at the end of the test.
func start(t testing.TB, server *redistest.Server, limits proxy.Limits, opts ...rekey.Option) *running {
	t.Helper()
	p, err := plan.Parse("test.yaml", []byte(testPlan), os.LookupEnv)
	must(t, err)
	return startPlan(t, server, p, limits, opts...)
}

// startPlan is start with a plan, whose server is that of the fleet's records alone.
func startPlan(t testing.TB, server *redistest.Server, p *plan.Plan, limits proxy.Limits, opts ...rekey.Option) *running {
	t.Helper()
	return startDial(t, server, p, limits, func(_ context.Context, server string) string { return server }, opts...)
}

// startDial is startPlan with what names the server of a connection that was dialled.
func startDial(
	t testing.TB, server *redistest.Server, p *plan.Plan, limits proxy.Limits,
	dialled func(ctx context.Context, server string) string, opts ...rekey.Option,
) *running {
	t.Helper()
	if len(opts) == 0 {
		opts = []rekey.Option{rekey.WithPhases(map[string]phase.Phase{"mirror": phase.Dual, "move": phase.Move})}
	}
	rk, err := rekey.Open(t.Context(), p, opts...)
	must(t, err)
	dial := rk.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return proxy.Stamped(conn), nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &running{t: t, addr: l.Addr().String(), rekey: rk, Proxy: proxy.New(proxy.Config{
		Limits: limits, Upstreams: upstreams(t),
		Dial: func(ctx context.Context) (*intercept.Conn, string, error) {
			conn, err := dial(ctx, "tcp", server.Addr())
			if err != nil {
				return nil, "", err
			}
			return proxy.Rewriting(conn), dialled(ctx, server.Addr()), nil
		},
	})}
	served := make(chan error)
	go func() { served <- r.Serve(l) }()
	t.Cleanup(func() {
		if !r.ended {
			r.end(time.Second)
		}
		must(t, <-served)
		must(t, rk.Close())
	})
	return r
}

// both runs a test with connections of the clients' own and with shared ones.
func both(t *testing.T, test func(*testing.T)) {
	for _, u := range []proxy.Upstreams{proxy.UpstreamsOwn, proxy.UpstreamsShared} {
		t.Run(u.String(), test)
	}
}

// upstreams is what both says of a test; shared for all others.
func upstreams(t testing.TB) proxy.Upstreams {
	for _, word := range strings.Split(t.Name(), "/") {
		if u, err := proxy.ParseUpstreams(word); err == nil {
			return u
		}
	}
	return proxy.UpstreamsShared
}

// end drains the proxy.
func (r *running) end(within time.Duration) error {
	r.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return r.Shutdown(ctx)
}

// raw opens a connection to the proxy.
func (r *running) raw() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	must(r.t, err)
	must(r.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	r.t.Cleanup(func() { _ = conn.Close() }) // a test may have closed it
	return conn
}

// client opens a connection that reads as a transcript.
func (r *running) client() *redistest.Conn {
	r.t.Helper()
	return redistest.NewConn(r.t, r.raw())
}

// waitFor polls.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	redistest.WaitFor(t, 20*time.Second, cond)
}

// metric is the value of a metric of the proxy's, with a label of this value; "": without labels.
func (r *running) metric(name, label string) float64 {
	r.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	must(r.t, registry.Register(r.Proxy))
	families, err := registry.Gather()
	must(r.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	r.t.Fatalf("no metric %s with %q", name, label)
	return 0
}
