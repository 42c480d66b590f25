// Package intercept rewrites one RESP connection while bytes pass through it.
//
// A [Session] does no I/O: bytes of the client and bytes of the server go in, bytes
// for the server and for the client come out, and a tick says that time has passed.
// So one and the same session serves a net.Conn ([Conn]), a proxy, and tests that cut
// the streams at every byte. [Conn] is its shell for applications.
//
// The session keeps one entry for each command of the application that is under way,
// in order. An entry knows how many replies of the server belong to it and how they
// fold into the one that the application sees. Replies stream: only what must be
// looked at as a whole (names in a reply, a page of SCAN, a number) is held.
//
// States of a connection that change what a command means are followed: database,
// protocol, MULTI, WATCH, client-side caching, subscriptions, MONITOR, CLIENT REPLY.
// A command after which the session must know the server's answer before it can read
// on (SELECT, HELLO, AUTH, RESET, a blocking command) stalls it: what the client sends
// meanwhile waits.
//
// Phases come as an immutable [Table] with a version. A command is sent under the
// table of the moment; MULTI keeps its table until EXEC. [Session.Oldest] is the
// version of the oldest table under which something is still under way.
package intercept
