package clienttest

import (
	"context"
	"strconv"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
)

// redigoPool makes a redigo pool over an instance.
func redigoPool(t testing.TB, r *rekey.Rekey, server *redistest.Server) *redigo.Pool {
	t.Helper()
	return redigoPoolAt(t, server.Addr(), redigo.DialContextFunc(r.Dialer(nil)))
}

func redigoPoolAt(t testing.TB, addr string, opts ...redigo.DialOption) *redigo.Pool {
	t.Helper()
	pool := &redigo.Pool{
		DialContext: func(ctx context.Context) (redigo.Conn, error) {
			return redigo.DialContext(ctx, "tcp", addr, opts...)
		},
		MaxIdle: 4,
	}
	t.Cleanup(func() { _ = pool.Close() }) // nothing is written by closing it
	return pool
}

func TestRedigo(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			must(t, bare.FlushAll(t.Context()).Err())
			pool := redigoPool(t, in(t, s), server)
			t.Run("pipeline", func(t *testing.T) { redigoPipeline(t, pool, s.key) })
			t.Run("transaction", func(t *testing.T) { redigoTransaction(t, pool, s.key) })
			t.Run("pubsub", func(t *testing.T) { redigoPubSub(t, pool, s.key) })
			t.Run("blocking", func(t *testing.T) { redigoBlocking(t, pool, s.key) })
			t.Run("script", func(t *testing.T) { redigoScript(t, pool, s.key) })
		})
	}
}

// borrow takes a connection of the pool for the test.
func borrow(t *testing.T, pool *redigo.Pool) redigo.Conn {
	t.Helper()
	c, err := pool.GetContext(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := c.Err(); err != nil {
			t.Errorf("the connection broke: %v", err)
		}
		_ = c.Close() // on Valkey an UNSUBSCRIBE of the pool, without a subscription, is an error
	})
	return c
}

// redigoPipeline receives replies while later commands are sent, which puts commands and replies of
// several transactions under way at any time.
func redigoPipeline(t *testing.T, pool *redigo.Pool, key func(string) string) {
	c := borrow(t, pool)
	const n = 300
	for i := range n {
		must(t, c.Send("SET", key(strconv.Itoa(i)), i))
		must(t, c.Send("GET", key(strconv.Itoa(i))))
		must(t, c.Flush())
		if i < 10 {
			continue
		}
		receivePair(t, c, i-10)
	}
	for i := n - 10; i < n; i++ {
		receivePair(t, c, i)
	}
}

func receivePair(t *testing.T, c redigo.Conn, i int) {
	t.Helper()
	ok, err := redigo.String(c.Receive())
	must(t, err)
	v, err := redigo.Int(c.Receive())
	must(t, err)
	if ok != "OK" || v != i {
		t.Fatalf("replies %q and %d, want OK and %d", ok, v, i)
	}
}

func redigoTransaction(t *testing.T, pool *redigo.Pool, key func(string) string) {
	c := borrow(t, pool)
	must(t, c.Send("MULTI"))
	must(t, c.Send("INCR", key("a")))
	must(t, c.Send("MGET", key("a"), key("none")))
	got, err := redigo.Values(c.Do("EXEC"))
	must(t, err)
	if len(got) != 2 || got[0] != int64(1) {
		t.Fatalf("EXEC: %v", got)
	}
	values, err := redigo.Strings(got[1], nil)
	must(t, err)
	same(t, "MGET", values, []string{"1", ""})
	must(t, c.Send("MULTI"))
	must(t, c.Send("INCR", key("a")))
	_, err = c.Do("DISCARD")
	must(t, err)
	n, err := redigo.Int(c.Do("GET", key("a")))
	must(t, err)
	same(t, "GET after DISCARD", n, 1)
}

func redigoPubSub(t *testing.T, pool *redigo.Pool, key func(string) string) {
	sub := redigo.PubSubConn{Conn: borrow(t, pool)}
	must(t, sub.Subscribe(key("c1"), key("c2")))
	for _, want := range []string{key("c1"), key("c2")} {
		got, ok := sub.ReceiveWithTimeout(20 * time.Second).(redigo.Subscription)
		if !ok || got.Channel != want {
			t.Fatalf("subscription: %v, want %s", got, want)
		}
	}
	must(t, sub.Ping("are you there"))
	pong, ok := sub.ReceiveWithTimeout(20 * time.Second).(redigo.Pong)
	if !ok {
		t.Fatalf("PING: %v", pong)
	}
	_, err := borrow(t, pool).Do("PUBLISH", key("c2"), "m")
	must(t, err)
	m, ok := sub.ReceiveWithTimeout(20 * time.Second).(redigo.Message)
	if !ok || m.Channel != key("c2") || string(m.Data) != "m" {
		t.Errorf("message: %v", m)
	}
	must(t, sub.Unsubscribe())
	for range 2 {
		if _, ok := sub.ReceiveWithTimeout(20 * time.Second).(redigo.Subscription); !ok {
			t.Error("no confirmation of the end")
		}
	}
	n, err := redigo.Int(sub.Conn.Do("INCR", key("after")))
	must(t, err)
	same(t, "INCR on the same connection", n, 1)
}

func redigoBlocking(t *testing.T, pool *redigo.Pool, key func(string) string) {
	c := borrow(t, pool)
	v, err := c.Do("BLPOP", key("q"), "0.02")
	if v != nil || err != nil {
		t.Errorf("BLPOP of nothing: %v, %v", v, err)
	}
	must(t, c.Send("BLPOP", key("q"), 0))
	must(t, c.Flush())
	_, err = borrow(t, pool).Do("RPUSH", key("q"), "v")
	must(t, err)
	got, err := redigo.Strings(c.Receive())
	must(t, err)
	same(t, "BLPOP", got, []string{key("q"), "v"})
}

func redigoScript(t *testing.T, pool *redigo.Pool, key func(string) string) {
	c := borrow(t, pool)
	s := redigo.NewScript(2, `redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[2])`)
	for range 2 {
		v, err := redigo.String(s.Do(c, key("s"), key("s"), "x"))
		must(t, err)
		same(t, "script", v, "x")
	}
}
