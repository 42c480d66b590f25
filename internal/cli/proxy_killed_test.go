package cli

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// carrier stands between a proxy and its server. It takes one request at a time, and gives the next one
// to the server when that has answered: where it is cut, the server has any beginning of what was sent.
type carrier struct {
	listener net.Listener
	server   string
	bare     bool // the server sees no MULTI and no EXEC, and runs each command as it comes

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
	work  sync.WaitGroup
}

// carry starts one, which ends with the test.
func carry(t testing.TB, server string, bare bool) *carrier {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &carrier{listener: l, server: server, bare: bare}
	c.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			c.work.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { c.cut(); c.work.Wait() })
	return c
}

// cut loses what is under way, and takes no more.
func (c *carrier) cut() {
	_ = c.listener.Close() // again, at the end of a test
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		_ = conn.Close() // again
	}
}

// opened is told of a connection, which a cut closes.
func (c *carrier) opened(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns = append(c.conns, conn); c.isCut {
		_ = conn.Close() // nothing was sent on it
	}
}

// serve carries one connection, to the end of either side.
func (c *carrier) serve(conn net.Conn) {
	c.opened(conn)
	defer conn.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	c.opened(server)
	defer server.Close()
	replies := bufio.NewReader(server)
	ask := func(request []byte) ([]byte, error) {
		if _, err := server.Write(request); err != nil {
			return nil, err
		}
		return redistest.ReadReply(replies)
	}
	var in, inside []byte
	queued := -1 // outside of a transaction
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		in = append(in, buf[:n]...)
		for err == nil {
			size, words, parsed := resp.ParseRequest(in, nil, resp.Limits{})
			if parsed != nil || size == 0 {
				err = parsed
				break
			}
			request, reply := in[:size], []byte(nil)
			name := ""
			if c.bare && len(words) > 0 {
				name = strings.ToUpper(string(words[0]))
			}
			switch {
			case name == "MULTI":
				queued, inside, reply = 0, nil, resp.AppendSimple(nil, "OK")
			case name == "EXEC":
				reply = append(resp.AppendArrayHeader(nil, queued), inside...)
				queued = -1
			case queued >= 0:
				var ran []byte
				ran, err = ask(request)
				inside = append(inside, ran...)
				queued++
				reply = resp.AppendSimple(nil, "QUEUED")
			default:
				reply, err = ask(request)
			}
			in = in[size:]
			if err == nil {
				_, err = conn.Write(reply)
			}
		}
		if err != nil {
			return // the other side is told by the end of its connection
		}
	}
}

// halves are the phases in which a write is more than one command, with the lists under both names before
// RPUSH of b and behind it. Anything else is half written.
var halves = []struct {
	phase         phase.Phase
	before, after names
}{
	{phase.Guard, names{"", "x"}, names{"b", ""}},
	{phase.Dual, names{"a", ""}, names{"a b", "a b"}},
	{phase.Settled, names{"a", "a"}, names{"a b", "a b"}},
	{phase.Drain, names{"a", ""}, names{"", "a b"}},
	{phase.Sealed, names{"x", "a"}, names{"", "a b"}},
}

// names are the lists under the two names of a key.
type names struct{ legacy, target string }

// TestProxyKilled: when the proxy is killed under load, clients see a closed connection, what was acknowledged
// is there, and of no key one name is written and the other is not.
func TestProxyKilled(t *testing.T) {
	for _, h := range halves {
		t.Run(h.phase.String(), func(t *testing.T) {
			for range 2 {
				if half := killProxy(t, h.phase, h.before, h.after, false); half > 0 {
					t.Errorf("%d keys are half written", half)
				}
			}
		})
	}
}

// TestProxyKilledWithoutTransactions: a server that runs the same commands without MULTI and EXEC is left
// with keys that are half written, which shows that TestProxyKilled would see them.
func TestProxyKilledWithoutTransactions(t *testing.T) {
	for _, h := range halves {
		t.Run(h.phase.String(), func(t *testing.T) {
			for round := range 30 {
				if half := killProxy(t, h.phase, h.before, h.after, true); half > 0 {
					t.Logf("%d keys are half written by kill %d", half, round+1)
					return
				}
			}
			t.Error("no key is half written without MULTI: this test sees nothing")
		})
	}
}

// killProxy kills a proxy and loses what it has under way, while clients write each of their keys once, and
// says how many keys are half written.
func killProxy(t *testing.T, ph phase.Phase, before, after names, withoutTransactions bool) (half int) {
	const clients, keys = 8, 100
	t.Helper()
	server := redistest.Shared(t)
	bare := server.Client(func(o *redis.Options) { o.ClientName = "tester" })
	name := func(client, i int) names {
		key := fmt.Sprintf("secure_session:%d-%d", client, i)
		return names{key, "cw:prod:" + key}
	}
	plant(t, bare, clients, keys, name, before)
	path := carry(t, server.Addr(), withoutTransactions)
	p := startProxy(t, "-f", planFile(t, fmt.Sprintf(walkPlan, "redis://"+path.listener.Addr().String())), "--phases", ph.String())

	at := int64(1 + rand.IntN(clients*keys/2))
	t.Logf("%v: killed at reply %d", ph, at)
	answer := fmt.Sprintf(":%d\r\n", len(strings.Fields(max(after.legacy, after.target))))
	var replies atomic.Int64
	var acknowledged [clients]int
	var work sync.WaitGroup
	for c := range acknowledged {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			defer conn.Close()
			var pipeline []byte
			for i := range keys {
				words := [][]byte{[]byte("RPUSH"), []byte(name(c, i).legacy), []byte("b")}
				if i%2 == 1 { // and one that is run once and copied
					words = append([][]byte{[]byte("EVAL"), []byte("return redis.call('RPUSH', KEYS[1], ARGV[1])"), []byte("1")}, words[1:]...)
				}
				pipeline = resp.AppendCommand(pipeline, words...)
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // a connection that hangs is seen below
			_, err := conn.Write(pipeline)
			for in := bufio.NewReader(conn); err == nil; {
				var reply []byte
				if reply, err = redistest.ReadReply(in); err != nil {
					break
				}
				acknowledged[c]++
				if string(reply) != answer {
					t.Errorf("got %q, want %q", reply, answer)
				}
				if replies.Add(1) == at {
					p.signal(syscall.SIGKILL)
					path.cut()
				}
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection is not closed: %v", err)
			}
		})
	}
	work.Wait()
	p.ends()
	path.work.Wait()
	quiet(t, bare)
	for c, n := range acknowledged {
		for i := range keys {
			got := names{list(t, bare, name(c, i).legacy), list(t, bare, name(c, i).target)}
			switch {
			case got == after:
			case got != before:
				half++
			case i < n:
				t.Errorf("client %d: %d are acknowledged, and number %d is not written: %+v", c, n, i, got)
			}
		}
	}
	return half
}

// plant makes the lists that are there before the proxy.
func plant(t *testing.T, bare *redis.Client, clients, keys int, name func(client, i int) names, lists names) {
	t.Helper()
	_, err := bare.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.FlushAll(t.Context())
		for c := range clients {
			for i := range keys {
				for key, words := range map[string]string{name(c, i).legacy: lists.legacy, name(c, i).target: lists.target} {
					if words != "" {
						p.RPush(t.Context(), key, words)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list is what a list holds.
func list(t *testing.T, bare *redis.Client, key string) string {
	t.Helper()
	words, err := bare.LRange(t.Context(), key, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(words, " ")
}

// quiet waits until the server has dealt with what the others have left in their sockets.
func quiet(t *testing.T, bare *redis.Client) {
	t.Helper()
	redistest.WaitFor(t, 20*time.Second, func() bool {
		clients := bare.ClientList(t.Context()).Val()
		return clients != "" && strings.Count(clients, "\n") == strings.Count(clients, " name=tester ")
	})
}
