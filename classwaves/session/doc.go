// Package session keeps the login sessions of teachers: in Redis, with a database behind it that
// answers when Redis cannot.
//
// # What is kept where
//
// The database ([Backing]) is the record of which sessions there are. A login, a log-out and the end of
// a teacher's oldest session are one transaction there, which also remembers what Redis has still to be
// told (an outbox: put or clear). The database knows a session id by its SHA-256, and the id itself only
// sealed under the key ring.
//
// Redis is what requests are answered from: a sealed value for each session, and the set of each
// teacher's session ids. Names come from package keys and lifetimes from package ttl, as the release before had
// them; the sealed value is ours. A value of that release does not open: its session is absent, counted
// as format, and left in place.
//
// Values are AES-256-GCM with the session id from the key's name as additional data, so that a
// value which was copied under another name does not open. What stands in the clear before the
// ciphertext (key id, order of the login, last activity) is authenticated as well. The ring's first
// key seals; a session that another key sealed is sealed again with the next request.
//
// The cookie, the token (32 bytes of crypto/rand) and the absolute lifetime are those of
// alexedwards/scs; the store behind it is ours.
//
// # States
//
// A process is trusting or suspect. It is suspect from its start, and from the moment in which Redis
// fails a command, does not answer the beat of [Sessions.Run], or turns out to have been started again. It becomes
// trusting when Redis answers, and everything that was pending in the database was told to Redis after
// that, and nothing failed meanwhile.
//
//	Redis      process    the session is
//	found      trusting   found
//	absent     trusting   absent
//	found      suspect    what the database says
//	absent     suspect    what the database says; Redis is told
//	no answer  either     what the database says
//
// When the database is asked and does not answer within its time, or its circuit breaker is open, the answer is an
// *unavailable.Error: not absent, and not found.
//
// # What is promised
//
//   - A request is let in only with a session that was found, is within its limits, and whose client
//     has the fingerprint (user agent and network) of the one that logged in. A fingerprint that
//     differs is recorded and refused; the session lives on.
//   - A teacher has at most Config.MaxPerTeacher sessions. However many logins come at once, the
//     latest stay, in Redis and in the database the same ones.
//   - A session that was ended stays ended. Storing a request's activity is conditional: it never
//     brings back what was deleted meanwhile.
//   - A log-out while Redis is away is honoured when it is back: by this process at once, by others
//     from the moment in which they know that Redis was away, which the beat bounds at a second.
//   - A login while Redis is away is good at once, and is still there when Redis is back.
//   - A Redis that comes back empty, or from an old snapshot, is brought to what the database says
//     before any process trusts it that has noticed; the beat bounds that too.
//   - A login needs the database, and works without Redis. A session that the database did not know of
//     could not be found while Redis is away, nor ended everywhere. A log-out needs it as well: without
//     it the session is ended in Redis, the error says unavailable, and Run goes on trying to tell the
//     database as long as the process lives.
//
// # Why a put cannot come late
//
// What makes a session in Redis (a login, or Run) may be held up on its way: in a socket of a server that hangs, say.
// If the session is ended meanwhile, it must not be made afterwards. Therefore a put carries a time,
// two seconds after the server's own clock was read, and the server refuses it later; and the clock is
// read before the database is asked, or told, that the session is alive. So no put is run later than
// two seconds after the session has ended. What was ended is cleared once more three seconds after it was seen to be
// pending, and only then counts as told. This needs a clock of the server that does not jump backwards by more
// than a second.
//
// # What is not promised
//
// A process that is cut off from Redis alone (others reach it) is answered by the database, and others
// apply its log-outs within a beat: for that long they may still find the session. FLUSHALL on a running
// server looks like absence, and logs everybody out. A Redis cluster of several primaries is not
// supported: the set and its sessions are changed by one script.
package session
