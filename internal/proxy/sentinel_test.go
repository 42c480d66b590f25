package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestSentinel: clients are served by the primary that the sentinels name. When it dies, they are closed,
// and served by the next one when they come again.
func TestSentinel(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	host, port, err := net.SplitHostPort(first.Addr())
	must(t, err)
	second.Conn().Do("REPLICAOF", host, port)
	waitFor(t, func() bool {
		return strings.Contains(string(first.Conn().Do("INFO", "replication").Str), "state=online")
	})
	sentinel := first.Sentinel("group")
	s, _ := serve(t, proxy.Options{
		Plan:   parsePlan(t, fmt.Sprintf(`url: "redis://group", sentinel: ["127.0.0.1:1", %q]`, sentinel)),
		Listen: []proxy.Listen{{Address: "127.0.0.1:0"}},
		Log:    slog.New(slog.DiscardHandler), // it says each second that nobody is there
	})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.Addrs()[0])
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		return conn
	}
	talk(t, dial())
	open := dial()
	_, err = io.WriteString(open, "PING\r\n")
	must(t, err)
	_, err = io.ReadFull(open, make([]byte, 7))
	must(t, err)
	waitFor(t, func() bool { // the replica knows all that was written
		return string(second.Conn().Do("GET", "cw:test:mi:1").Str) == "x"
	})
	first.Kill()
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a client of the dead primary: %v, want the end", err)
	}
	waitFor(t, func() bool {
		conn := dial()
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "SET mi:1 y\r\n"); err != nil {
			return false
		}
		reply := make([]byte, 5)
		_, err := io.ReadFull(conn, reply)
		return err == nil && string(reply) == "+OK\r\n"
	})
	if v := second.Conn().Do("GET", "mi:1"); string(v.Str) != "y" {
		t.Errorf("the second has %v", v)
	}
}

// TestMoved: when another server becomes the primary while the one of before lives on, its clients are
// closed, so that none of them writes to a server that nobody reads.
func TestMoved(t *testing.T) {
	r := start(t, redistest.Shared(t), proxy.Limits{})
	c := r.raw()
	_, err := io.WriteString(c, "PING\r\n")
	must(t, err)
	_, err = io.ReadFull(c, make([]byte, 7))
	must(t, err)
	r.Moved("127.0.0.1:1")
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the end", err)
	}
	left(t, r, "moved", 1)
}

// TestMovedWhileDialling: a connection that was being dialled while another server became the primary does not stay with
// the one of before.
func TestMovedWhileDialling(t *testing.T) { both(t, testMovedWhileDialling) }

func testMovedWhileDialling(t *testing.T) {
	server := redistest.Start(t)
	group := parsePlan(t, fmt.Sprintf(`url: "redis://group", sentinel: [%q]`, server.Sentinel("group")))
	upstream, err := proxy.OpenUpstream(group.Server)
	must(t, err)
	dials, followed := make(chan struct{}, 1), make(chan struct{})
	r := startDial(t, server, group, proxy.Limits{}, func(context.Context, string) string {
		dials <- struct{}{}
		<-followed
		return "127.0.0.1:1"
	})
	c := r.raw()
	_, err = io.WriteString(c, "PING\r\n")
	must(t, err)
	<-dials
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	once := sync.OnceFunc(func() { close(followed) })
	go func() {
		defer close(ended)
		upstream.Follow(ctx, func(primary string) {
			r.Moved(primary)
			once()
		})
	}()
	left(t, r, "moved", 1)
	stop()
	<-ended
}
