// Package ratelimit says how often somebody may do something, for all processes of a fleet together,
// the Node processes of the release before this one included.
//
// # The key
//
// A subject's points of a limit are one integer in Redis, the one that npm's rate-limiter-flexible
// keeps (RateLimiterRedis with keyPrefix "rl:NAME"):
//
//   - The first hit of a window sets it to 1 with the window as its TTL. Later hits count up and leave
//     the TTL as it is: the window is fixed, and begins at the first hit.
//   - The hit that exceeds the limit first, and it alone, sets it to the count with the block duration
//     as its TTL. Hits while blocked count up and leave the TTL as it is.
//
// So N hits at once on a limit of P let exactly P pass, whichever processes they come to. All of it is
// one script on one key, one round trip, and no process works by another algorithm on the same key.
// The script gets the key as KEYS[1] and builds no name: rekey may move the key while it is counted on.
//
// # Without Redis
//
// A process that gets no answer from Redis goes over to a limiter in its own memory, for that call:
// every call tries Redis first, for no longer than [Config].Timeout. The insurance is a token bucket
// for each subject (golang.org/x/time/rate) of the same points over the same window, and blocks as
// Redis does. It begins full, because an outage is no reason to refuse anybody; it knows of the blocks
// that this process has seen in Redis, because an outage is no reason to pardon anybody either. Its
// memory is bounded: the subjects that were idle longest are forgotten. In an outage each process lets
// a subject pass as often at once as the limit says; a patient subject, which never exceeds it, gets
// its points back in the course of a window and not at its end.
//
// # Failures
//
// [Limiter.Take] always decides. Its error is a subject that cannot stand in a key ([keys.InvalidError]),
// which [Limiter.Middleware] answers with 400: nothing passes uncounted. A caller that hangs up does not
// get its point back. If the reply of Redis is lost on the way the point may be counted twice, never
// not at all.
package ratelimit
