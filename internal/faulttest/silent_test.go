package faulttest

import (
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestWriterThatNeverReads: a program may send commands and look at no reply, with CLIENT REPLY OFF or
// without. On a bare connection they run; through the engine, which has questions of its own for the
// server first, they run as well.
func TestWriterThatNeverReads(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		for name, first := range map[string][]string{"quiet": {"CLIENT", "REPLY", "OFF"}, "loud": {"PING"}} {
			t.Run(s.String()+"/"+name, func(t *testing.T) {
				want(t, bare, "OK", "FLUSHALL")
				conn := dial(t, in(t, s), server.Addr())
				send(t, conn, first...)
				send(t, conn, "SET", s.legacy("k"), "v")
				send(t, conn, "APPEND", s.legacy("k"), "w")
				redistest.WaitFor(t, replyWithin, func() bool { return text(bare.Do("GET", s.copies("k")[0])) == "vw" })
			})
		}
	}
}
