// Package proxy is rekey in front of programs of any language: a Redis server as far as a client can
// tell, behind which everything follows the plan.
//
//	client -- conn -- [client] -- [seat] -- intercept.Link -- intercept.Conn -- server
//	client -- conn -- [client] ------------------------------ intercept.Conn -- server
//
// Every upstream connection is one of package rekey's dialer: the same session rewrites it that serves
// a Go program, and what the fleet is promised of connections (admission, reaching a phase, cutting,
// late bytes) holds for it without a word about it here. The whole proxy is one instance of the fleet.
// Clients share them ([UpstreamsShared]) until one needs its own, or have their own from the beginning.
//
// While a plain TCP client shares, an event loop reads and writes for it, and for the connection that it
// shares; a client of another kind has two goroutines on a [seat], and so has one that has left the loop.
//
// What this package adds is what a net.Conn of a program need not have, because nobody else writes
// to it:
//
//   - Nothing of one client reaches another: no session or buffer is shared, and a shared connection ends
//     where the replies do not fit what was sent (see [intercept.Link]).
//   - A client waits for no other: one that takes none of its replies is given a connection of its own, or
//     closed, and what others want of the server stands in front of it by no more than it has sent.
//   - Memory is bounded. A client that sends without reading is not read any further once a number
//     of its commands is unanswered; an incomplete command grows with the bytes that came, not with
//     the length that was announced, within a limit for each client and one for all together.
//   - Time is bounded: for a handshake, for the rest of a command that was begun, for a client that
//     does not take its replies, and, where asked for, for an idle one.
//   - A command that was read is sent and answered, also when the client closes its half behind it,
//     and when the proxy ends ([Proxy.Shutdown]). Where the proxy is killed, or its server, the
//     client sees its connection closed; what it had sent has run whole or not at all, because more
//     than one command of ours is one transaction.
//   - The upstream is opened by a client's first byte. Where it cannot be opened, the connection is
//     closed without a word: every client knows what to do about a server that is not there.
//
// Names and values of keys are in no log and no metric.
package proxy
