package faulttest

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

// reader reads replies as they come, as clients do: a connection is driven by whoever reads it.
type reader struct {
	t       testing.TB
	replies chan string
}

// read starts to read a connection, to its end. Errors of the connection come as "error: ...".
func read(t testing.TB, conn net.Conn) reader {
	r := reader{t, make(chan string, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffered := bufio.NewReader(conn)
		for {
			raw, err := redistest.ReadReply(buffered)
			if err != nil {
				r.replies <- "error: " + err.Error()
				return
			}
			v, _, err := resp.Parse(raw)
			if err != nil {
				r.replies <- "error: " + err.Error()
				return
			}
			r.replies <- text(v)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close() // ends the reader
		<-done
	})
	return r
}

// next is the next reply.
func (r reader) next() string {
	r.t.Helper()
	select {
	case s := <-r.replies:
		return s
	case <-time.After(replyWithin):
		r.t.Fatal("no reply")
		return ""
	}
}

func (r reader) want(reply string) {
	r.t.Helper()
	if got := r.next(); got != reply {
		r.t.Errorf("got %s, want %s", got, reply)
	}
}

// send writes one command.
func send(t testing.TB, conn net.Conn, words ...string) {
	t.Helper()
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	_, err := conn.Write(resp.AppendCommand(nil, args...))
	must(t, err)
}
