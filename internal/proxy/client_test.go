package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestState: what a connection has made of itself is its own, whatever others do.
func TestState(t *testing.T) { both(t, testState) }

func testState(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	a, b := r.client(), r.client()
	for _, step := range []struct {
		c          *redistest.Conn
		line, want string
	}{
		{a, "HELLO 3", "%7\r\n"},
		{a, "CLIENT SETNAME mine", "+OK\r\n"},
		{b, "CLIENT GETNAME", "$-1\r\n"},
		{a, "SELECT 5", "+OK\r\n"},
		{a, "SET k five", "+OK\r\n"},
		{b, "GET k", "$-1\r\n"},
		{a, "SELECT 0", "+OK\r\n"},
		{a, "SET mi:1 x", "+OK\r\n"},
		{b, "GET mi:1", "$1\r\nx\r\n"},
		{a, "MULTI", "+OK\r\n"},
		{a, "SET mi:1 y", "+QUEUED\r\n"},
		{b, "GET mi:1", "$1\r\nx\r\n"},
		{a, "EXEC", "*1\r\n+OK\r\n"},
		{b, "WATCH mi:1", "+OK\r\n"},
		{a, "SET mi:1 z", "+OK\r\n"},
		{b, "MULTI", "+OK\r\n"},
		{b, "SET mi:1 lost", "+QUEUED\r\n"},
		{b, "EXEC", "*-1\r\n"},
		{a, "GET mi:none", "_\r\n"},
		{b, "GET mi:none", "$-1\r\n"},
		{b, "SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"},
		{a, "PUBLISH news hi", ":1\r\n"},
		{b, "", "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n"},
		{b, "UNSUBSCRIBE news", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"},
		{a, "RESET", "+RESET\r\n"},
		{a, "GET mi:none", "$-1\r\n"},
		{a, "RPUSH mo:list 1", ":1\r\n"},
		{b, "BLPOP mo:list 1", "*2\r\n$7\r\nmo:list\r\n$1\r\n1\r\n"},
		{b, "QUIT", "+OK\r\n"},
	} {
		if step.line != "" {
			step.c.Send(strings.Fields(step.line)...)
		}
		if got := string(step.c.ReadRaw()); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: got %q, want %q", step.line, got, step.want)
		}
	}
	a.Write([]byte("SET mi:inline 1\r\nGET mi:inline\r\n"))
	if got := string(a.ReadRaw()) + string(a.ReadRaw()); got != "+OK\r\n$1\r\n1\r\n" {
		t.Errorf("inline: got %q", got)
	}
}

// TestIsolation: many clients at once, each with values that only it writes, in states of every kind;
// a byte of another's would show.
func TestIsolation(t *testing.T) { both(t, testIsolation) }

func testIsolation(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	var work sync.WaitGroup
	failed := make(chan error, 64)
	for i := range 12 {
		conn := r.raw()
		work.Go(func() {
			if err := alone(conn, i); err != nil {
				failed <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	work.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}

// alone is one client's conversation, in one write and one read for each round.
func alone(conn net.Conn, i int) error {
	key := fmt.Sprintf("%s:%d", []string{"mi", "mo", "none"}[i%3], i)
	for round := range 30 {
		value := strings.Repeat(fmt.Sprintf("<%d.%d>", i, round), 1+(i*round*7)%400)
		db := i % 2 * 7
		send := fmt.Sprintf("SELECT %d\r\nECHO %s\r\nSET %s %s\r\nMULTI\r\nGET %s\r\nGET %s\r\nEXEC\r\nCLIENT SETNAME c%d\r\nCLIENT GETNAME\r\nGET %s\r\n",
			db, value, key, value, key, key, i, key)
		bulk := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
		name := fmt.Sprintf("c%d", i)
		want := "+OK\r\n" + bulk + "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" + bulk + bulk + "+OK\r\n" +
			fmt.Sprintf("$%d\r\n%s\r\n", len(name), name) + bulk
		if _, err := io.WriteString(conn, send); err != nil {
			return err
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil {
			return fmt.Errorf("round %d: %w after %.200q", round, err, got)
		}
		if string(got) != want {
			return fmt.Errorf("round %d: got %.300q, want %.300q", round, got, want)
		}
	}
	return nil
}

// TestHalfClosed: a client that has closed its half behind its commands gets every reply, as from the
// server, and then the end.
func TestHalfClosed(t *testing.T) { both(t, testHalfClosed) }

func testHalfClosed(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	conn := r.raw()
	const n = 2000
	_, err := io.WriteString(conn, strings.Repeat("INCR mi:half\r\n", n)+"GET mi:half\r\nSET mi:hal")
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	must(t, err)
	if want := fmt.Sprintf(":%d\r\n$4\r\n%d\r\n", n, n); !bytes.HasSuffix(got, []byte(want)) {
		t.Errorf("got %d bytes that end in %.60q, want %q", len(got), got[max(0, len(got)-60):], want)
	}
}

// TestHangUpWhileBlocked: the wait of a client that has gone ends, and takes nothing that another
// client waits for.
func TestHangUpWhileBlocked(t *testing.T) { both(t, testHangUpWhileBlocked) }

func testHangUpWhileBlocked(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	first, bare := r.client(), server.Conn()
	first.Do("PING")
	first.Close()
	idle := 0
	if upstreams(t) == proxy.UpstreamsShared {
		idle = 1 // it stays
	}
	// What the server has not closed yet may still take what is pushed.
	has := func(clients, conns int) func() bool {
		return func() bool {
			list := string(bare.Do("CLIENT", "LIST", "TYPE", "normal").Str)
			return r.Clients() == clients && r.rekey.Stats().Conns == conns && strings.Count(list, "\n") == conns+1
		}
	}
	for _, key := range []string{"mi:queue", "none:queue"} {
		waitFor(t, has(0, idle))
		gone := r.client()
		gone.Send("BLPOP", key, "0")
		waitFor(t, has(1, idle+1))
		gone.Close()
		waitFor(t, has(0, idle))
		waits := r.client()
		waits.Send("BLPOP", key, "0")
		pushes := r.client()
		pushes.Do("RPUSH", key, "v")
		if v := waits.Read(); len(v.Elems) != 2 || string(v.Elems[1].Str) != "v" {
			t.Errorf("%s: got %v", key, v)
		}
		waits.Close()
		pushes.Close()
	}
}

// TestServerDies: clients see a closed connection, and are served again when the server is back.
func TestServerDies(t *testing.T) { both(t, testServerDies) }

func testServerDies(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, server, proxy.Limits{})
	c := r.raw()
	_, err := io.WriteString(c, "SET mi:1 x\r\n")
	must(t, err)
	_, err = io.ReadFull(c, make([]byte, 5))
	must(t, err)
	server.Kill()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read after the server's end: %d bytes, %v, want the end", n, err)
	}
	d := r.raw()
	_, err = io.WriteString(d, "PING\r\n")
	must(t, err)
	if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read without a server: %v, want the end", err)
	}
	server.Restart()
	if v := r.client().Do("SET", "mi:1", "y"); string(v.Str) != "OK" {
		t.Errorf("after the server came back: %v", v)
	}
}

// TestDrain: every command that was read is answered, blocking ones with the word that nothing was taken,
// and then the client sees the end; no reply is lost to a reset.
func TestDrain(t *testing.T) { both(t, testDrain) }

func testDrain(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	polls, native, unruled, replicas := r.client(), r.client(), r.client(), r.client()
	polls.Send("BLPOP", "mi:none", "0")
	native.Send("BLPOP", "mo:none", "0")
	unruled.Send("BLPOP", "other:none", "0")
	replicas.Send("WAIT", "1", "0")
	waitFor(t, func() bool {
		// Each BLPOP counts, and nothing else is sent yet.
		return r.metric("rekey_proxy_commands_total", "replay") == 3 && strings.Contains(clientList(server), "cmd=wait")
	})
	var work sync.WaitGroup
	answered, sent := make([]int, 3), make([]int, 3)
	for i := range answered {
		conn := r.raw()
		began := make(chan struct{})
		work.Go(func() {
			for n := 0; ; n++ {
				if _, err := io.WriteString(conn, strings.Repeat(fmt.Sprintf("INCR mi:drain:%d\r\n", i), 10)); err != nil {
					return
				}
				sent[i] += 10
				if n == 3 {
					close(began)
				}
			}
		})
		work.Go(func() {
			all, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			answered[i] = bytes.Count(all, []byte("\r\n"))
			_ = conn.Close() // ends whoever writes
		})
		<-began
	}
	bare := server.Conn()
	waitFor(t, func() bool { return bare.Do("EXISTS", "mi:drain:0", "mi:drain:1", "mi:drain:2").Int == 3 })
	if err := r.end(20 * time.Second); err != nil {
		t.Error(err)
	}
	work.Wait()
	for i, n := range answered {
		got := bare.Do("GET", fmt.Sprintf("mi:drain:%d", i))
		if fmt.Sprint(n) != string(got.Str) || n == 0 {
			t.Errorf("client %d sent %d commands at least, got %d answers, and the server has run %s", i, sent[i], n, got.Str)
		}
	}
	for name, c := range map[string]*redistest.Conn{"polling": polls, "waiting on the server": native, "without a rule": unruled, "for replicas": replicas} {
		if got := string(c.ReadRaw()); !strings.HasPrefix(got, "-UNBLOCKED ") {
			t.Errorf("blocking, %s: got %q", name, got)
		}
	}
}

func clientList(server *redistest.Server) string {
	return string(server.Conn().Do("CLIENT", "LIST").Str)
}

// TestDrainDeadline: what cannot be answered in time is cut, and said.
func TestDrainDeadline(t *testing.T) { both(t, testDrainDeadline) }

func testDrainDeadline(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	c := r.client()
	c.Do("PING")
	sent := r.metric("rekey_proxy_bytes_total", "request")
	server.Pause()
	defer server.Continue()
	c.Send("PING")
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "request") > sent })
	if err := r.end(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "1 clients had commands under way") {
		t.Errorf("got %v", err)
	}
}

// TestDrainAgainstAStream: a client that goes on sending while the proxy ends still gets its replies: a
// connection that is closed with bytes unread is reset, and a reset takes back what is on its way.
func TestDrainAgainstAStream(t *testing.T) { both(t, testDrainAgainstAStream) }

func testDrainAgainstAStream(t *testing.T) {
	proxy.Linger(t, time.Millisecond) // nobody is in a hurry to read
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	const size = 1 << 20
	server.Conn().Do("SET", "none:big", strings.Repeat("v", size))
	conn := r.raw()
	_, err := io.WriteString(conn, "GET none:big\r\n")
	must(t, err)
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "request") > 0 })
	ended := make(chan error)
	go func() { ended <- r.end(20 * time.Second) }()
	waitFor(t, func() bool { // nobody is taken any more
		other, err := net.Dial("tcp", r.addr)
		if err == nil {
			_ = other.Close() // it was only to see
		}
		return err != nil
	})
	_, err = io.WriteString(conn, "PING\r\n")
	must(t, err)
	got, err := io.ReadAll(conn)
	got = bytes.TrimSuffix(got, []byte("+PONG\r\n")) // it came before the client's turn to be drained
	if err != nil || len(got) != size+len("$1048576\r\n\r\n") {
		t.Errorf("%d bytes, %v, want the whole reply and the end", len(got), err)
	}
	must(t, conn.Close())
	must(t, <-ended)
}
