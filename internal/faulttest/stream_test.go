package faulttest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestNewestOfAStream: "$" is the end of the stream at the call. An entry that is added right after
// it is seen, however long the engine takes to begin waiting; none from before is.
func TestNewestOfAStream(t *testing.T) {
	server := redistest.Shared(t)
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		t.Run(reader.String()+" beside "+writer.phase.String(), func(t *testing.T) {
			want(t, server.Conn(), "OK", "FLUSHALL")
			conn, w := dial(t, in(t, reader), server.Addr()), connect(t, in(t, writer), server.Addr())
			k, c := reader.legacy("x"), read(t, conn)
			for _, id := range []string{"1-0", "2-0", "3-0"} {
				// What is there before the call is not shown. The next entry is written as soon as the
				// server has seen the call.
				want(t, w, id, "XADD", k, id, "f", "v")
				want(t, w, "OK", "CONFIG", "RESETSTAT")
				send(t, conn, "XREAD", "BLOCK", "0", "STREAMS", k, "$")
				send(t, conn, "PING")
				next := strings.Replace(id, "-0", "-1", 1)
				waiting(t, server)
				want(t, w, next, "XADD", k, next, "f", "v")
				c.want("[[" + k + " [[" + next + " [f v]]]]]")
				c.want("PONG")
			}
		})
	}
}

// waiting returns when the server has taken an XREAD since its counters were reset, or waits for
// one: the call was made, and what "$" means is settled.
func waiting(t *testing.T, server *redistest.Server) {
	t.Helper()
	bare := server.Conn()
	defer bare.Close()
	redistest.WaitFor(t, replyWithin, func() bool {
		return calls(text(bare.Do("INFO", "commandstats")), "xread") > 0 || blockedClients(bare) > 0
	})
}

func blockedClients(bare *redistest.Conn) int {
	info := text(bare.Do("INFO", "clients"))
	_, rest, _ := strings.Cut(info, "blocked_clients:")
	if strings.HasPrefix(rest, "0") {
		return 0
	}
	return 1
}

// TestNewestOverAChangeOfPhase: the phases change while a reader waits behind "$". The entry that
// comes next is seen, also when it comes under the other name.
func TestNewestOverAChangeOfPhase(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		walk := phase.Walk(s)
		for i := 1; i < len(walk); i++ {
			from, to := stage{s, walk[i-1]}, stage{s, walk[i]}
			t.Run(from.String()+" to "+to.phase.String(), func(t *testing.T) {
				want(t, bare, "OK", "FLUSHALL")
				source := rekey.NewManual(from.phases())
				r := open(t, rekey.WithSource(source))
				conn, w := dial(t, r, server.Addr()), connect(t, r, server.Addr())
				k, c := from.legacy("x"), read(t, conn)
				want(t, w, "1-0", "XADD", k, "1-0", "f", "old")
				// The gates of the steps, by hand: a copy or a move where the next phase wants one.
				want(t, bare, "OK", "CONFIG", "RESETSTAT")
				send(t, conn, "XREAD", "BLOCK", "0", "STREAMS", k, "$")
				waiting(t, server)
				gate(bare, from, to)
				follow(t, r, source, to.phases())
				reached(t, r)
				want(t, w, "2-0", "XADD", k, "2-0", "f", "new")
				c.want("[[" + k + " [[2-0 [f new]]]]]")
			})
		}
	}
}

// gate makes true what a step needs, for the one key of the test.
func gate(bare *redistest.Conn, from, to stage) {
	switch {
	case from.phase == phase.Dual && to.phase == phase.Settled:
		_ = bare.Do("COPY", from.legacy("x"), from.target("x"))
	case from.phase == phase.Sealed:
		_ = bare.Do("UNLINK", from.legacy("x"))
	case from.phase == phase.Move:
		_ = bare.Do("RENAMENX", from.legacy("x"), from.target("x"))
	}
}
