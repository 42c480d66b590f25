package clienttest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// front puts a proxy in front of a server, in an instance's phases, and gives its address.
func front(t testing.TB, r *rekey.Rekey, server *redistest.Server) string {
	t.Helper()
	dial := r.Dialer(nil)
	p := proxy.New(proxy.Config{Dial: func(ctx context.Context) (*intercept.Conn, string, error) {
		conn, err := dial(ctx, "unix", server.Socket())
		if err != nil {
			return nil, "", err
		}
		return proxy.Rewriting(conn), server.Socket(), nil
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		must(t, p.Shutdown(ctx))
		must(t, <-served)
	})
	return l.Addr().String()
}

// throughProxy makes clients that know of nothing but an address.
func throughProxy(t testing.TB, r *rekey.Rekey, server *redistest.Server) clients {
	t.Helper()
	addr := front(t, r, server)
	return clients{
		goRedis: goRedis(t, r, server, func(o *redis.Options) { o.Addr, o.Dialer = addr, nil }),
		rueidis: ruEidis(t, r, server, func(o *rueidis.ClientOption) { o.InitAddress, o.DialCtxFn = []string{addr}, nil }),
		redigo:  redigoPoolAt(t, addr),
	}
}

// TestThroughTheProxy is what applications do with each client, in every phase, through the proxy.
func TestThroughTheProxy(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			c := throughProxy(t, in(t, s), server)
			for _, check := range goRedisChecks {
				must(t, bare.FlushAll(t.Context()).Err())
				t.Run("go-redis/"+check.name, func(t *testing.T) { check.run(t, c.goRedis, s.key) })
			}
			for _, check := range rueidisChecks {
				must(t, bare.FlushAll(t.Context()).Err())
				t.Run("rueidis/"+check.name, func(t *testing.T) { check.run(t, c.rueidis, s.key) })
			}
			must(t, bare.FlushAll(t.Context()).Err())
			t.Run("redigo/pipeline", func(t *testing.T) { redigoPipeline(t, c.redigo, s.key) })
			t.Run("redigo/transaction", func(t *testing.T) { redigoTransaction(t, c.redigo, s.key) })
			t.Run("redigo/pubsub", func(t *testing.T) { redigoPubSub(t, c.redigo, s.key) })
			t.Run("redigo/blocking", func(t *testing.T) { redigoBlocking(t, c.redigo, s.key) })
			t.Run("redigo/script", func(t *testing.T) { redigoScript(t, c.redigo, s.key) })
		})
	}
}

// TestWalkThroughProxies walks two proxies, as TestWalkUnderLoad walks two programs.
func TestWalkThroughProxies(t *testing.T) {
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		t.Run(s.String(), func(t *testing.T) { walkUnderLoad(t, s, throughProxy) })
	}
}
