package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// good is a client that must notice nothing of the others.
func good(t *testing.T, r *running) (check func()) {
	c := r.client()
	return func() {
		t.Helper()
		if v := c.Do("SET", "mi:good", "x"); string(v.Str) != "OK" {
			t.Errorf("a client beside: %v", v)
		}
		if v := c.Do("GET", "mi:good"); string(v.Str) != "x" {
			t.Errorf("a client beside: %v", v)
		}
	}
}

// left waits until so many clients have left for a reason.
func left(t *testing.T, r *running, reason string, n float64) {
	t.Helper()
	waitFor(t, func() bool { return r.metric("rekey_proxy_ended_total", reason) == n })
}

// heap is the memory that is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNeverReads: of a client that sends and takes no reply, no more is read after a while; what is
// held for it is bounded, and in the end it is closed.
func TestNeverReads(t *testing.T) { both(t, testNeverReads) }

func testNeverReads(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Slow: time.Second})
	check := good(t, r)
	check()
	server.Conn().Do("SET", "mi:big", strings.Repeat("v", 100_000))
	before := heap()
	conn := r.raw()
	sent := make(chan int64)
	go func() {
		commands := []byte(strings.Repeat("GET mi:big\r\n", 1000))
		var n int64
		for {
			m, err := conn.Write(commands)
			n += int64(m)
			if err != nil {
				sent <- n
				return
			}
		}
	}()
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "request") > 12*4096 })
	check()
	if grown := int64(heap()) - int64(before); grown > 32<<20 {
		t.Errorf("%d MiB are held for one client", grown>>20)
	}
	left(t, r, "slow", 1)
	<-sent
	// A chunk is taken whole, behind which nothing more is read.
	if got := r.metric("rekey_proxy_bytes_total", "request"); got > 12*4096+2*64<<10 {
		t.Errorf("%v bytes were read of a client that takes no reply", got)
	}
	check()
}

// TestLateReader: a client that sends more than is read of it in advance, and then reads, gets all of
// its replies.
func TestLateReader(t *testing.T) { both(t, testLateReader) }

func testLateReader(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Slow: 10 * time.Second})
	server.Conn().Do("SET", "mi:big", strings.Repeat("v", 2000))
	conn := r.raw()
	const n = 20_000
	go func() { _, _ = conn.Write([]byte(strings.Repeat("GET mi:big\r\n", n))) }() // the reader below tells
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "request") > 12*4096 })
	one := len("$2000\r\n") + 2000 + 2
	if got, err := io.CopyN(io.Discard, conn, int64(n*one)); err != nil {
		t.Errorf("%d bytes of %d: %v", got, n*one, err)
	}
}

// TestGarbage: it is answered as the server answers it, and the connection ends; so does that of a
// client which announces more than there may be.
func TestGarbage(t *testing.T) { both(t, testGarbage) }

func testGarbage(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Request: 1 << 20})
	check := good(t, r)
	for _, c := range []struct{ name, send, want string }{
		{"no array of strings", "*1\r\n:nonsense\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
		{"a word of 1 GiB", "*2\r\n$3\r\nGET\r\n$1073741824\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"more words than there are", "*99999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		{"a line without an end", strings.Repeat("x", 70_000), "-ERR Protocol error: too big inline request\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := r.raw()
			_, err := conn.Write([]byte("SET mi:before x\r\n" + c.send))
			must(t, err)
			must(t, conn.(*net.TCPConn).CloseWrite())
			got, err := io.ReadAll(conn)
			must(t, err)
			if want := "+OK\r\n" + c.want; !bytes.HasPrefix(got, []byte(want)) {
				t.Errorf("got %.200q, want %q", got, want)
			}
			check()
		})
	}
}

// TestAnnounced: what is announced and does not come costs nothing; what comes and is never complete
// is bounded for all clients together.
func TestAnnounced(t *testing.T) { both(t, testAnnounced) }

func testAnnounced(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Memory: 8 << 20})
	check := good(t, r)
	check()
	before := heap()
	for range 20 {
		_, err := r.raw().Write([]byte("*3\r\n$3\r\nSET\r\n$4\r\nmi:1\r\n$400000000\r\nand no more"))
		must(t, err)
	}
	waitFor(t, func() bool { return r.Clients() == 21 })
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("%d MiB for announcements", grown>>20)
	}
	chunk := make([]byte, 64<<10)
	conn := r.raw()
	_, err := conn.Write([]byte("*3\r\n$3\r\nSET\r\n$4\r\nmi:1\r\n$400000000\r\n"))
	must(t, err)
	for n := 0; err == nil; n += len(chunk) {
		if _, err = conn.Write(chunk); n > 64<<20 {
			t.Fatal("64 MiB were taken")
		}
	}
	left(t, r, "memory", 1)
	waitFor(t, func() bool { return r.metric("rekey_proxy_memory_bytes", "") == 0 })
	check()
}

// TestSlowloris: a command that is begun and does not come to its end ends the client, also where it
// begins behind whole ones; so does silence, where a limit is set.
func TestSlowloris(t *testing.T) { both(t, testSlowloris) }

func testSlowloris(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Begun: 200 * time.Millisecond})
	check := good(t, r)
	whole, silent := r.client(), r.raw()
	for _, conn := range []interface{ Write([]byte) }{whole, redistest.NewConn(t, silent)} {
		conn.Write([]byte("PING\r\n"))
	}
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "reply") >= 2*7 })
	server.Pause() // what is behind HELLO waits for the server
	sent := r.metric("rekey_proxy_bytes_total", "request")
	const hello, begun = "HELLO 3\r\nPING\r\n", "GET mi:"
	whole.Write([]byte(hello))
	_, err := silent.Write([]byte(hello + begun))
	must(t, err)
	waitFor(t, func() bool {
		return r.metric("rekey_proxy_bytes_total", "request") == sent+float64(2*len(hello)+len(begun))
	})
	server.Continue()
	must(t, silent.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.Copy(io.Discard, silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a client that is silent in the middle of a command is not closed")
	}
	left(t, r, "unfinished", 1)
	for _, begin := range []string{"*", "GET mi:", "PING\r\nHELLO 3\r\nPING\r\n*2\r\n$3\r\nGET\r\n$10\r\nmi", strings.Repeat("PING\r\n", 200) + "P"} {
		before := r.metric("rekey_proxy_ended_total", "unfinished")
		conn := r.raw()
		_, err := conn.Write([]byte(begin))
		must(t, err)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		waitFor(t, func() bool {
			_, _ = conn.Write([]byte(" ")) // it is closed in the end
			return r.metric("rekey_proxy_ended_total", "unfinished") == before+1
		})
		check()
	}
	check() // its commands were all complete, so that much later it is still here
	if n := r.Clients(); n != 2 {
		t.Errorf("%d clients are left, want 2", n)
	}
	for range 3 {
		whole.Read()
	}
	if v := whole.Do("PING"); string(v.Str) != "PONG" {
		t.Errorf("a client whose commands were complete: %v", v)
	}
}

func TestIdle(t *testing.T) { both(t, testIdle) }

func testIdle(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Idle: 2 * time.Second}) // in which each of them speaks, on a busy machine too
	listens, blocks := r.client(), r.client()
	listens.Do("SUBSCRIBE", "news")
	blocks.Send("BLPOP", "mi:none", "0")
	silent, idle := r.raw(), r.client()
	idle.Do("PING")
	left(t, r, "idle", 2)
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a silent client: %v", err)
	}
	pushes := server.Conn()
	pushes.Do("PUBLISH", "news", "hi")
	if v := listens.Read(); len(v.Elems) != 3 {
		t.Errorf("a listening client: %v", v)
	}
	pushes.Do("RPUSH", "cw:test:mi:none", "v")
	if v := blocks.Read(); len(v.Elems) != 2 {
		t.Errorf("a blocking client: %v", v)
	}
}

func TestTooManyClients(t *testing.T) { both(t, testTooManyClients) }

func testTooManyClients(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{Clients: 2})
	first := r.client()
	first.Do("PING")
	r.client().Do("PING")
	got, err := io.ReadAll(r.raw())
	must(t, err)
	if string(got) != "-ERR max number of clients reached\r\n" {
		t.Errorf("got %q", got)
	}
	first.Close()
	waitFor(t, func() bool { return r.Clients() == 1 })
	r.client().Do("PING")
}
