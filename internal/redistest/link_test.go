package redistest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

func TestLinkCarriesBytes(t *testing.T) {
	s := Shared(t)
	link := SlowLink(t, s.Addr())
	conn := link.Conn()
	value := string(bytes.Repeat([]byte("x"), 8<<20)) // more than a flow queues
	if got := conn.Do("SET", "k", value); string(got.Str) != "OK" {
		t.Fatalf("SET: got %q", got.Append(nil))
	}
	if got := conn.Do("GET", "k"); string(got.Str) != value {
		t.Errorf("GET: got %d bytes, want %d", len(got.Str), len(value))
	}
	if got := link.Passed(ToClient); got < int64(len(value)) {
		t.Errorf("Passed to client: got %d, want at least %d", got, len(value))
	}
	conn.Close()
	WaitFor(t, replyWithin, func() bool { return link.Conns() == 0 })
}

func TestLinkDelays(t *testing.T) {
	const delay = 40 * time.Millisecond
	link := SlowLink(t, Shared(t).Addr())
	conn := link.Conn()
	link.Delay(ToServer, delay)
	link.Delay(ToClient, delay)
	start := time.Now()
	conn.Do("PING")
	if got := time.Since(start); got < 2*delay {
		t.Errorf("a round trip took %v, want at least %v", got, 2*delay)
	}
}

func TestLinkDeliversLateBytes(t *testing.T) {
	s := Shared(t)
	link := SlowLink(t, s.Addr())
	conn := link.Conn()
	conn.Do("PING")
	link.Stall(ToServer)
	conn.Send("SET", "k", "late")
	conn.Close()
	after := s.Conn()
	if got := after.Do("GET", "k"); !got.Null {
		t.Fatalf("GET while the link is stalled: got %q, want nothing", got.Str)
	}
	link.Resume(ToServer)
	WaitFor(t, replyWithin, func() bool { return string(after.Do("GET", "k").Str) == "late" })
}

func TestLinkDeliversLateBytesOfABrokenClient(t *testing.T) {
	s := Shared(t)
	link := SlowLink(t, s.Addr())
	conn := link.Conn()
	conn.Do("PING")
	link.Stall(ToServer)
	conn.Send("SET", "k", "late")
	// All of it, and not PING's bytes: a reset drops what the link has not taken yet.
	request := len(resp.AppendCommand(nil, []byte("SET"), []byte("k"), []byte("late")))
	WaitFor(t, replyWithin, func() bool { return link.Pending(ToServer) == request })
	link.CutClients()
	if _, err := conn.r.ReadByte(); err == nil {
		t.Fatal("the client still reads")
	}
	link.Resume(ToServer)
	after := s.Conn()
	WaitFor(t, replyWithin, func() bool { return string(after.Do("GET", "k").Str) == "late" })
}

func TestLinkCutsInTheMiddleOfAReply(t *testing.T) {
	s := Shared(t)
	s.Conn().Do("SET", "k", "0123456789")
	link := SlowLink(t, s.Addr())
	conn := link.Dial()
	link.CutAfter(ToClient, 7) // "$10\r\n01"
	if _, err := conn.Write([]byte("GET k\r\n")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if string(got) != "$10\r\n01" || err == nil {
		t.Errorf("reply: got %q, %v, want 7 bytes and a reset", got, err)
	}
}

func TestLinkStallsInTheMiddleOfAReply(t *testing.T) {
	s := Shared(t)
	s.Conn().Do("SET", "k", "0123456789")
	link := SlowLink(t, s.Addr())
	conn := link.Dial()
	link.StallAfter(ToClient, 7)
	if _, err := conn.Write([]byte("GET k\r\n")); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 7)
	if _, err := io.ReadFull(conn, part); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after 7 bytes: got %d bytes, %v, want a timeout", n, err)
	}
	link.Resume(ToClient)
	if err := conn.SetReadDeadline(time.Now().Add(replyWithin)); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 10)
	if _, err := io.ReadFull(conn, rest); err != nil || string(rest) != "23456789\r\n" {
		t.Errorf("after Resume: got %q, %v", rest, err)
	}
}

func TestLinkHalfCloses(t *testing.T) {
	s := Shared(t)
	link := SlowLink(t, s.Addr())
	conn := link.Dial()
	NewConn(t, conn).Do("PING")
	link.CloseWrite(ToClient)
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read after a half-close: got %d bytes, %v, want EOF", n, err)
	}
	if _, err := conn.Write([]byte("SET k v\r\n")); err != nil {
		t.Fatalf("write after a half-close: %v", err)
	}
	after := s.Conn()
	WaitFor(t, replyWithin, func() bool { return string(after.Do("GET", "k").Str) == "v" })
}

func TestLinkCutsAndRefuses(t *testing.T) {
	s := Shared(t)
	link := SlowLink(t, s.Addr())
	conn := link.Dial()
	NewConn(t, conn).Do("PING")
	link.Cut()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read after Cut: got %d bytes, want an error", n)
	}
	link.Refuse()
	if !refuses(t, link) {
		t.Error("a connection of a link that refuses works")
	}
	link.Accept()
	if got := link.Conn().Do("PING"); string(got.Str) != "PONG" {
		t.Errorf("PING after Accept: got %q", got.Append(nil))
	}
}

// TestLinkRefusesWhatItIsAboutToCarry: a connection that is accepted when a link begins to refuse is no more open after a
// Cut than those that the Cut found.
func TestLinkRefusesWhatItIsAboutToCarry(t *testing.T) {
	link := SlowLink(t, Shared(t).Addr())
	for range 300 {
		link.Accept()
		conn := link.Dial() // done before the link has looked at it
		link.Refuse()
		link.Cut()
		if err := conn.SetReadDeadline(time.Now().Add(replyWithin)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read from a link that refuses: got %v, want a reset", err)
		}
	}
}

func TestLinkWithoutAServer(t *testing.T) {
	s := Start(t)
	link := SlowLink(t, s.Addr())
	conn := link.Dial()
	NewConn(t, conn).Do("PING")
	s.Kill()
	if !broken(t, conn) {
		t.Error("the connection outlives the server")
	}
	if !refuses(t, link) {
		t.Error("a connection to no server works")
	}
}

// broken tells whether a connection ends without an answer.
func broken(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(replyWithin)); err != nil {
		return true
	}
	_, _ = conn.Write([]byte("PING\r\n")) // it may fail at once or at the read
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// refuses tells whether a new connection of the link does not work: the reset may come before
// Dial has returned or after.
func refuses(t *testing.T, link *Link) bool {
	t.Helper()
	conn, err := net.Dial("tcp", link.Addr())
	if err != nil {
		return true
	}
	defer conn.Close()
	return broken(t, conn)
}
