// Package csrf keeps the synchronizer tokens that unsafe requests of a login session must carry.
//
// A session's token is 64 hexadecimal characters of crypto/rand. It is made once, however many tabs ask
// at the same time (SET NX), and lives as long as it is used: whoever asks for it or sends it in the
// second half of its lifetime renews that. [Tokens.Rotate] replaces it; the one before stays valid for
// a grace period, for tabs that were open. [Tokens.Forget] is called when the session ends.
//
// The server of ClassWaves does not rotate by itself: each login is a session with a token of its own, and
// processes of the old release, which know one token only, would refuse whoever still has the one before. So
// a csrf_previous key is there only where somebody calls Rotate: an application that lets a session do more
// than before (a password asked for again, another role), or that fears for a token. Every request honours it.
//
// A request carries the token in the header X-CSRF-Token, or in the field csrf_token of a form. A token
// in the query is not looked at, since URLs reach logs and other sites. The body of a request that is
// no form is not touched.
//
// Tokens are compared in constant time, by their hashes: lengths that differ take no other time.
//
// A token is right, wrong, or not to be had: when Redis cannot answer, the error is an
// *unavailable.Error and [Tokens.Middleware] refuses the request with 503. It lets none through. For
// requests that only end the sender's own sessions there is [Tokens.EndingMiddleware]: a logout is
// honoured while Redis is away.
//
// A request without a session passes: it has no authority that another site could borrow. Authentication
// comes first, and refuses what needs a session.
package csrf
