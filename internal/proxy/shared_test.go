package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestSharing: clients of one user and protocol are on one connection to the server, until one of them needs its
// own.
func TestSharing(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	conns := func(want int) {
		t.Helper()
		waitFor(t, func() bool { return r.rekey.Stats().Conns == want })
	}
	var clients []*redistest.Conn
	for range 10 {
		c := r.client()
		c.Do("SET", "mi:shared", "x")
		clients = append(clients, c)
	}
	conns(1)
	clients[0].Do("HELLO", "3")
	clients[1].Do("HELLO", "3")
	clients[1].Do("GET", "mi:shared")
	conns(2)
	for i, line := range []string{"MULTI", "WATCH mi:1", "SELECT 1", "BLPOP none:x 0.01", "SUBSCRIBE c", "CLIENT ID", "RESET", "CLIENT REPLY ON"} {
		clients[2+i].Do(strings.Fields(line)...)
		conns(3 + i)
	}
}

// TestSharedLogin: each client's password is the server's to judge, also where others are logged in with it, and
// nobody acts as another user.
func TestSharedLogin(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Conn()
	for _, line := range []string{
		"ACL SETUSER ann on >one ~* &* +@all", "ACL SETUSER bob on >two ~* &* +@all -set", "ACL SETUSER default off",
	} {
		admin.Do(strings.Fields(line)...)
	}
	r := start(t, server, proxy.Limits{})
	ann, bob, nobody := r.client(), r.client(), r.client()
	for _, step := range []struct {
		c          *redistest.Conn
		line, want string
	}{
		{nobody, "GET none:1", "-NOAUTH"},
		{nobody, "AUTH ann wrong", "-WRONGPASS"},
		{nobody, "GET none:1", "-NOAUTH"},
		{ann, "AUTH ann one", "+OK"},
		{ann, "SET mi:1 x", "+OK"},
		{ann, "ACL WHOAMI", "$3\r\nann"},
		{nobody, "AUTH ann wrong", "-WRONGPASS"},
		{nobody, "GET none:1", "-NOAUTH"},
		{bob, "HELLO 2 AUTH bob two", "*"},
		{bob, "GET mi:1", "$1\r\nx"},
		{bob, "SET none:1 y", "-NOPERM"},
		{ann, "SET none:1 y", "+OK"},
		{bob, "AUTH ann one", "+OK"},
		{bob, "SET none:1 z", "+OK"},
		{bob, "MULTI", "+OK"},
		{bob, "SET none:1 z", "+QUEUED"},
		{bob, "EXEC", "*1\r\n+OK"},
		{bob, "ACL WHOAMI", "$3\r\nann"},
		{nobody, "HELLO 3 AUTH bob two", "%"},
		{nobody, "GET none:none", "_"},
		{nobody, "SET none:1 y", "-NOPERM"},
	} {
		step.c.Send(strings.Fields(step.line)...)
		if got := string(step.c.ReadRaw()); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: got %q, want %q", step.line, got, step.want)
		}
	}
	admin.Do("ACL", "SETUSER", "ann", "resetpass", ">three")
	late := r.client()
	if v := late.Do("AUTH", "ann", "one"); !strings.HasPrefix(string(v.Str), "WRONGPASS") {
		t.Errorf("a password of before: %v", v)
	}
}

// TestSharedWithoutALogin: whoever comes when the server wants a login does not get in by a connection of before, and
// who was there goes on, as on the server itself.
func TestSharedWithoutALogin(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Conn()
	r := start(t, server, proxy.Limits{})
	before := r.client()
	before.Do("SET", "mi:1", "x")
	for _, c := range []struct {
		rule string
		in   bool
	}{{"on resetpass >two", false}, {"nopass", true}, {"off", false}, {"on", true}} {
		admin.Do(append([]string{"ACL", "SETUSER", "default"}, strings.Fields(c.rule)...)...)
		bare, late := server.Conn(), r.client()
		for _, line := range []string{"GET mi:1", "SET mi:1 y", "HELLO 3", "GET mi:1", "WAIT 0 0", "GET mi:1"} {
			bare.Send(strings.Fields(line)...)
			late.Send(strings.Fields(line)...)
			want, got := string(bare.ReadRaw()), string(late.ReadRaw())
			if got != want && (!c.in || line != "HELLO 3") { // whose id differs
				t.Errorf("default %s: %s: got %q, want %q", c.rule, line, got, want)
			}
			if refused := strings.HasPrefix(want, "-NOAUTH"); refused == c.in {
				t.Fatalf("default %s: %s: the server says %q", c.rule, line, want)
			}
		}
		if v := before.Do("GET", "mi:1"); v.IsError() {
			t.Errorf("default %s: a client of before: %v", c.rule, v)
		}
	}
	admin.Do("ACL", "SETUSER", "default", "resetpass", ">two")
	late := r.client()
	late.Do("GET", "mi:1")
	if v := late.Do("WAIT", "0", "0"); !v.IsError() {
		t.Errorf("WAIT gives a connection of before: %v", v)
	}
	late = r.client()
	late.Do("GET", "mi:1")
	if v := late.Do("AUTH", "two"); string(v.Str) != "OK" {
		t.Errorf("AUTH: %v", v)
	}
	if v := late.Do("GET", "mi:1"); string(v.Str) != "y" {
		t.Errorf("behind AUTH: %v", v)
	}
}

// TestSharedWait: WAIT speaks of what the client has written, wherever that went.
func TestSharedWait(t *testing.T) {
	server := redistest.Start(t)
	replica := server.Replica()
	r := start(t, server, proxy.Limits{})
	c, beside := r.client(), r.client()
	beside.Do("SET", "mi:beside", "x")
	if v := c.Do("WAIT", "1", "5000"); v.Int != 1 {
		t.Fatalf("WAIT: %v", v)
	}
	c = r.client()
	c.Do("SET", "mi:1", "x")
	replica.Pause()
	defer replica.Continue()
	c.Do("SET", "mi:1", "y")
	beside.Do("SET", "mi:beside", "y")
	if v := c.Do("WAIT", "1", "100"); v.Int != 0 {
		t.Errorf("WAIT says that %d replicas have what none has", v.Int)
	}
	if v := beside.Do("GET", "mi:beside"); string(v.Str) != "y" {
		t.Errorf("a client beside: %v", v)
	}
}

// TestSharedWaitTwice: the connection that a WAIT takes is one client's. Another one that sat there cannot have it as
// well: it may come again.
func TestSharedWaitTwice(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	taker, beside := r.client(), r.raw()
	other := redistest.NewConn(t, beside)
	taker.Do("SET", "mi:taker", "x")
	other.Do("SET", "mi:beside", "x")
	taker.Do("WAIT", "0", "0")
	echoed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(beside, "WAIT 0 0\r\n")
		if err == nil {
			_, err = io.ReadFull(beside, make([]byte, len(":0\r\n")))
		}
		if err == nil {
			err = echoes(beside, "beside")
		}
		echoed <- err
	}()
	for i := range 1000 {
		if v := taker.Do("ECHO", "taker"); string(v.Str) != "taker" {
			t.Fatalf("echo %d: %v", i, v)
		}
	}
	if err := <-echoed; err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the client beside: %v, want its own replies or the end", err)
	}
	if v := r.client().Do("GET", "mi:beside"); string(v.Str) != "x" {
		t.Errorf("a client that comes next: %v", v)
	}
}

// echoes says its own word a thousand times, and hears whether it comes back.
func echoes(conn io.ReadWriter, word string) error {
	want := fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	got := make([]byte, len(want))
	for i := range 1000 {
		if _, err := io.WriteString(conn, "ECHO "+word+"\r\n"); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("echo %d: %q", i, got)
		}
	}
	return nil
}

// TestSharedConnectionBreaks: with the connection that they share all of its clients end, and those that come
// next are served.
func TestSharedConnectionBreaks(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	a, b, own := r.raw(), r.raw(), r.client()
	for _, conn := range []io.Writer{a, b} {
		_, err := io.WriteString(conn, "SET mi:1 x\r\n")
		must(t, err)
	}
	for _, conn := range []io.Reader{a, b} {
		_, err := io.ReadFull(conn, make([]byte, len("+OK\r\n")))
		must(t, err)
	}
	id := own.Do("CLIENT", "ID").Int
	for _, c := range strings.Split(string(server.Conn().Do("CLIENT", "LIST", "TYPE", "normal").Str), "\n") {
		if strings.Contains(c, "cmd=copy") || strings.Contains(c, "cmd=set") || strings.Contains(c, "cmd=exec") {
			server.Conn().Do("CLIENT", "KILL", "ID", strings.TrimPrefix(strings.Fields(c)[0], "id="))
		}
	}
	for _, conn := range []io.Reader{a, b} {
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
	if v := own.Do("CLIENT", "ID"); v.Int != id {
		t.Errorf("the client with a connection of its own: %v, want %d", v, id)
	}
	if v := r.client().Do("GET", "mi:1"); string(v.Str) != "x" {
		t.Errorf("a client that comes next: %v", v)
	}
}

// TestSlowNeighbour: a client that takes none of its replies holds nobody up on the connection that it shares.
func TestSlowNeighbour(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{Slow: time.Minute})
	check := good(t, r)
	check()
	server.Conn().Do("SET", "none:big", strings.Repeat("v", 1<<20))
	slow := r.raw()
	_, err := slow.Write([]byte(strings.Repeat("GET none:big\r\n", 200)))
	must(t, err)
	left(t, r, "slow", 1)
	for range 100 {
		check()
	}
	// What was given to it before is whole replies, to the last of which it does not come.
	must(t, slow.SetReadDeadline(time.Now().Add(10*time.Second)))
	if n, err := io.Copy(io.Discard, slow); n > 200<<20 || err == nil && n == 200*(1<<20+11) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestSharedBehindAFullServer: clients that wait because the server takes nothing of their shared connection go on when it
// does again, also those of which nothing is under way any more.
func TestSharedBehindAFullServer(t *testing.T) {
	const clients, sets, size = 40, 10, 300_000
	server := redistest.Start(t)
	r := start(t, server, proxy.Limits{})
	server.Pause()
	done := make(chan error, clients)
	for i := range clients {
		conn := r.raw()
		set := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$%d\r\nnone:%d\r\n$%d\r\n%s\r\n", len(fmt.Sprint("none:", i)), i, size, strings.Repeat("v", size))
		go func() {
			var err error
			for range sets {
				if _, err = io.WriteString(conn, set); err != nil {
					break
				}
				if _, err = io.ReadFull(conn, make([]byte, len("+OK\r\n"))); err != nil {
					break
				}
			}
			done <- err
		}()
	}
	waitFor(t, func() bool { return r.metric("rekey_proxy_bytes_total", "request") > clients*size })
	server.Continue()
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := r.metric("rekey_proxy_ended_total", "slow"); n != 0 {
		t.Errorf("%v clients were slow", n)
	}
}

// TestSharedIsCounted: who counts a client's commands reads its session where it sits, also while it goes from one place
// to another, and never counts fewer than before.
func TestSharedIsCounted(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	const clients = 100
	done := make(chan error, clients)
	conns := make([]io.ReadWriter, clients)
	for i := range conns {
		conns[i] = r.raw()
	}
	go func() {
		defer close(done)
		for _, conn := range conns {
			if _, err := io.WriteString(conn, "GET none:1\r\nGET none:1\r\nMULTI\r\nQUIT\r\n"); err != nil {
				done <- err
			}
			if got, err := io.ReadAll(conn); string(got) != "$-1\r\n$-1\r\n+OK\r\n+OK\r\n" {
				done <- fmt.Errorf("%q, %w", got, err)
			}
		}
	}()
	seen := 0.0
	for open := true; open || r.Clients() > 0; {
		select {
		case err, more := <-done:
			if open = more; err != nil {
				t.Error(err)
			}
		default:
		}
		n := r.metric("rekey_proxy_commands_total", "read")
		if n < seen {
			t.Errorf("%v commands after %v", n, seen)
		}
		seen = n
	}
	if n := r.metric("rekey_proxy_commands_total", "read"); n != 2*clients {
		t.Errorf("%v commands, want %d", n, 2*clients)
	}
}

// TestSharedTurnsOwn: a client whose replies grow faster than it takes them gets a connection of its own, and all
// of them.
func TestSharedTurnsOwn(t *testing.T) {
	server := redistest.Shared(t)
	r := start(t, server, proxy.Limits{})
	server.Conn().Do("SET", "none:big", strings.Repeat("v", 100_000))
	conn := r.raw()
	const n = 2000
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat("GET none:big\r\n", n))
		wrote <- err
	}()
	waitFor(t, func() bool { return r.rekey.Stats().Conns > 0 && r.metric("rekey_proxy_bytes_total", "request") > 0 })
	got, err := io.CopyN(io.Discard, conn, n*(100_000+11))
	if err != nil && !errors.Is(err, io.EOF) || got != n*(100_000+11) {
		t.Errorf("%d bytes, %v", got, err)
	}
	must(t, <-wrote)
}
