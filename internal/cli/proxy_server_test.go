package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestProxyServerKilled: when the server is killed under load, clients see a closed connection, also those
// that come while it is away; when it is back they are served, what was acknowledged is there, and both
// names of a key are equal.
func TestProxyServerKilled(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	p := startProxy(t, "-f", planFile(t, fmt.Sprintf(walkPlan, server.URL())), "--phases", "dual")
	var clients [4]pusher
	var work sync.WaitGroup
	for i := range clients {
		clients[i] = pusher{addr: p.addr, key: fmt.Sprintf("secure_session:%d", i)}
	}
	again := make(chan struct{})
	for i := range clients {
		c := &clients[i]
		work.Go(func() {
			if err := c.push(-1); err != nil {
				t.Errorf("at the server's end: %v", err)
			}
			if err := c.push(-1); err != nil {
				t.Errorf("without a server: %v", err)
			}
			<-again
			if err := c.push(100); err != nil {
				t.Errorf("with the server again: %v", err)
			}
		})
	}
	redistest.WaitFor(t, 20*time.Second, func() bool {
		for i := range clients {
			if clients[i].acknowledged.Load() < 100 {
				return false
			}
		}
		return true
	})
	server.Kill()
	redistest.WaitFor(t, 20*time.Second, func() bool {
		for i := range clients {
			if clients[i].ended.Load() < 2 {
				return false
			}
		}
		return true
	})
	server.Restart()
	close(again)
	work.Wait()
	bare := server.Client()
	for i := range clients {
		c := &clients[i]
		legacy, target := list(t, bare, c.key), list(t, bare, "cw:prod:"+c.key)
		if legacy != target || int64(len(strings.Fields(legacy))) < c.acknowledged.Load() {
			t.Errorf("%d are acknowledged, the legacy name has %d, the target name %d",
				c.acknowledged.Load(), len(strings.Fields(legacy)), len(strings.Fields(target)))
		}
	}
}

// pusher is a client that pushes to a list of its own.
type pusher struct {
	addr, key    string
	acknowledged atomic.Int64
	ended        atomic.Int64 // connections that were closed
}

// push opens a connection and pushes n times, or until the connection is closed where n is negative. An
// error says that it went another way.
func (p *pusher) push(n int) error {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for ; n != 0; n-- {
		_, err := io.WriteString(conn, "RPUSH "+p.key+" v\r\n")
		var reply []byte
		if err == nil {
			reply, err = redistest.ReadReply(in)
		}
		switch {
		case err == nil && reply[0] == ':':
			p.acknowledged.Add(1)
		case err == nil:
			return fmt.Errorf("got %q", reply)
		case n > 0 || errors.Is(err, os.ErrDeadlineExceeded):
			return err
		default:
			p.ended.Add(1)
			return nil
		}
	}
	return nil
}
