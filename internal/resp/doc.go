// Package resp frames RESP2 and RESP3: it finds where a request or a reply ends and what its
// words are, and builds as little as it can. It does no I/O and keeps no clock; bytes go in,
// offsets and slices of the same bytes come out.
//
// Two readers stand on either side of a connection:
//
//   - Requests ([ParseRequest], [RequestScanner]) are read exactly as Redis reads them, the odd
//     cases included: a multibulk of zero or fewer words is nothing, the two bytes behind a bulk
//     string are not looked at, an inline line ends at a bare newline, and a line that holds a NUL
//     never ends. Whoever stands between a client and a server must agree with the server about
//     every border, or one client's bytes become another command. Errors carry the server's own
//     text.
//   - Replies ([ReadHeader], [Skipper], [Parse]) come from a server, so they are read strictly: an
//     unknown type byte, a streamed type, a number with a leading zero or a line that ends in a
//     bare newline is a [FrameError], because a client may see another border there.
//
// Everything that a peer can make large has a limit ([Limits] and the constants of this package),
// lengths are checked for overflow before they are added to anything, and nothing is allocated in
// advance because a peer announced it. No input panics: the fuzz tests hold that, and that a
// value is framed the same whole, byte by byte, and by either reader.
package resp
