package difftest

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/proxy"
)

// leastThroughProxy and proxyBudget are for the proxy what leastSequences and budget are for the
// engine: the engine is the same, so what is looked for is what the proxy does to the bytes.
const (
	leastThroughProxy = 2
	proxyBudget       = 8 // budget, divided by it, in each mode
)

// TestSequencesThroughTheProxy runs the random sequences with the proxy in front of the engine, each
// connection through an instance of its own.
func TestSequencesThroughTheProxy(t *testing.T) {
	for _, u := range []proxy.Upstreams{proxy.UpstreamsShared, proxy.UpstreamsOwn} {
		t.Run(u.String(), func(t *testing.T) { sequencesThroughTheProxy(t, u) })
	}
}

func sequencesThroughTheProxy(t *testing.T, u proxy.Upstreams) {
	w := newWorld(t)
	dir, sockets := t.TempDir(), 0
	w.connect = func(rules *intercept.Rules) net.Conn {
		p := proxy.New(proxy.Config{
			Upstreams: u,
			Dial: func(context.Context) (*intercept.Conn, string, error) {
				return intercept.NewConn(proxy.Stamped(dialBare(w.t, w.engine)), rules, intercept.Hooks{}), "", nil
			},
		})
		sockets++
		l, err := net.Listen("unix", filepath.Join(dir, strconv.Itoa(sockets)))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		go func() { served <- p.Serve(l) }()
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return &proxied{conn, func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = p.Shutdown(ctx) // the connection is closed, whatever it held open
			if err := <-served; err != nil {
				t.Error(err)
			}
		}}
	}
	w.sequences(t, leastThroughProxy, budget(t)/proxyBudget)
}

// proxied is a connection to a proxy that ends with it.
type proxied struct {
	net.Conn
	end func()
}

func (p *proxied) Close() error {
	err := p.Conn.Close()
	p.end()
	return err
}
