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

// TestNewestOfAStreamIsAFault: "$" sent on as it is, in each of the ways that come to mind, by hand.
func TestNewestOfAStreamIsAFault(t *testing.T) {
	server := redistest.Shared(t)
	for name, history := range map[string]func(bare *redistest.Conn, waits func(name string) waiter){
		// The polls of a phase that needs a transaction: an entry between two of them is missed.
		"asked again": func(bare *redistest.Conn, _ func(string) waiter) {
			transcript(t, bare,
				"XREAD STREAMS mi:x $ > nil", "XADD mi:x 1-1 f v > 1-1", "XREAD STREAMS mi:x $ > nil",
				"XREAD STREAMS mi:x 1-0 > [[mi:x [[1-1 [f v]]]]]") // with the end of the first call it is seen
		},
		// A neighbour in sealed writes under the target name alone.
		"waiting at the legacy name": func(bare *redistest.Conn, waits func(string) waiter) {
			replies := waits("mi:x")
			transcript(t, bare, "COPY mi:x cw:test:mi:x > 1", "XADD cw:test:mi:x 1-1 f v > 1-1", "UNLINK mi:x > 1",
				"CLIENT UNBLOCK "+replies.id+" > 1")
			replies.want("nil") // it waited on, with the entry there
		},
		// A read of a neighbour makes the target copy, and the server takes all of it for new.
		"waiting at the target name": func(bare *redistest.Conn, waits func(string) waiter) {
			replies := waits("cw:test:mi:x")
			transcript(t, bare, "COPY mi:x cw:test:mi:x > 1")
			replies.want("[[cw:test:mi:x [[1-0 [f v]]]]]")
		},
		// The end of a stream that is not there is 0-0, and everything comes after it.
		"the end under one name": func(bare *redistest.Conn, _ func(string) waiter) {
			transcript(t, bare, "XINFO STREAM cw:test:mi:x > ERR", "COPY mi:x cw:test:mi:x > 1",
				"XREAD STREAMS cw:test:mi:x 0-0 > [[cw:test:mi:x [[1-0 [f v]]]]]")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bare := server.Conn()
			transcript(t, bare, "FLUSHALL > OK", "XADD mi:x 1-0 f v > 1-0")
			history(bare, func(name string) waiter { return waitsAt(t, server, name) })
		})
	}
}

// waiter is a bare connection that the server holds in an XREAD.
type waiter struct {
	reader
	id string
}

// waitsAt sends an XREAD for what is new under a physical name, and returns when the server holds it.
func waitsAt(t *testing.T, server *redistest.Server, name string) waiter {
	t.Helper()
	bare, conn := server.Conn(), server.Dial()
	id := text(redistest.NewConn(t, conn).Do("CLIENT", "ID"))
	send(t, conn, "XREAD", "BLOCK", "0", "STREAMS", name, "$")
	redistest.WaitFor(t, replyWithin, func() bool { return blockedClients(bare) > 0 })
	return waiter{read(t, conn), id}
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

// TestNewestOverAChangeOfPhaseIsAFault: a reader that is fetched from its wait when the phases change, and
// asks for "$" again under the other name, by hand: an entry that came in between is missed.
func TestNewestOverAChangeOfPhaseIsAFault(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	transcript(t, bare, "XADD mi:x 1-0 f old > 1-0")
	replies := waitsAt(t, server, "mi:x")
	transcript(t, bare, "CLIENT UNBLOCK "+replies.id+" > 1")
	replies.want("nil")
	transcript(t, bare, "COPY mi:x cw:test:mi:x > 1", "XADD cw:test:mi:x 2-0 f new > 2-0",
		"XREAD STREAMS cw:test:mi:x $ > nil", "XREAD STREAMS cw:test:mi:x 1-0 > [[cw:test:mi:x [[2-0 [f new]]]]]")
}
