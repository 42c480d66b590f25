// Package analytics keeps the live figures of class sessions: how many groups are active and ready,
// participants, engagement, participation, alerts. They are counted in Redis, outlive it in the
// database, and are pushed to whoever watches.
//
// # What is stored
//
// A session's record holds one part for each writer that ever added to it: a process makes itself a
// writer when it first adds to a session. A part has the writer's own tallies of each group and a
// sequence number that grows with every change; nobody else writes it. To merge two records is to
// take, of each part, the one with the higher sequence number, so merging is commutative,
// associative and idempotent, and the figures are sums over all parts: no order of arrival, no
// repeated delivery and no stale copy can lose or double an event. A record has as many parts as
// processes have added to the session, a few hundred bytes each for a class of six groups. Record, group entries and the mark
// on the teacher's dashboard are written by one script, which touches the names in KEYS alone.
//
// The same merge is everything that ever happens to an entry: an update brings the writer's own
// part, a fill brings the database's record, a sync both. A fill therefore never overwrites
// something newer; there is no other way to write.
//
// # States of an update
//
// Apply answers when the event is in the cache, or, while that is unavailable, in the database.
// Besides, the process holds its part in memory until the database has it too. So:
//
//   - Redis unavailable: reads are answered by the database with this process's part on top, updates
//     are merged into the database's row, and both are counted. When Redis is back, [Analytics.Run] merges
//     the part into the entry, within about a second; until then other processes, whose Redis may
//     have been there all the time, see the entry without it, and this process sees it with it.
//   - Redis lost its data: entries are filled from the database, and every process merges its part
//     into them at its next update of the session, and otherwise within five seconds by Run, as long as the
//     database lacks something of it. Nothing that was acknowledged is gone unless the writer was
//     killed as well: what only cache and writer have is at most as old as a third of the entry's
//     lifetime, when Run writes it at the latest, and Run's end and [Analytics.Flush] leave nothing.
//   - Database unavailable: nothing changes while the entry is in the cache. Without an entry there
//     is no base to add to: updates are refused.
//   - Both unavailable: an *unavailable.Error. The event is not counted: the next change of the part
//     leaves it out under a higher number, even where the failed write had arrived.
//
// Readiness is the last word by a number that is one more than the highest that the record has, or
// the time in milliseconds where that is more.
//
// A session that has ended keeps its figures; events for it get [ErrEnded]. The process that was told of the
// end owes it to both stores until they have it. If that process dies first, the others that hold the
// session learn of it at their next sync.
//
// # What the entries look like
//
// JSON strings with the figures of [SessionMetrics] and [GroupMetrics], times in milliseconds, and
// format 1. The old release keeps other fields under these names: such an entry is absent, counted
// as foreign, and replaced by the next fill or update. Sums are exact below 10^14, a thousand million
// samples.
//
// The teacher's dashboard is stored only where the entry is still what the reader found before it
// summed up. Every update puts a mark of its own there, so a sum of earlier figures is never stored
// after a later update.
package analytics
