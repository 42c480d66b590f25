// Package querycache keeps results of queries in Redis: get or load, with one load for a fleet of
// processes, and an invalidation whose cost does not depend on how much is cached.
//
//	cache, err := querycache.New(querycache.Config{Redis: client, Epochs: true})
//	detail, err := querycache.Load(ctx, cache, querycache.Entry{
//		Type: querycache.SessionDetail, Key: id, Tags: []string{"class:" + id},
//	}, func(ctx context.Context) (Detail, error) { return db.Detail(ctx, id) })
//
// # States of an entry
//
//	fresh    younger than 70 % of its lifetime: returned
//	stale    within its lifetime: returned, and loaded again in the background, once per process
//	expired  up to 60 s past its lifetime: a miss, but returned if the loader fails
//	none     absent, unreadable or invalidated: a miss, whatever happens
//
// An entry's age counts from before its loader began. Its lifetime is the type's, jittered when it
// is written. Ages are compared between processes: their clocks must agree to a few seconds.
//
// # One load
//
// A miss is loaded once per process (singleflight) and once per fleet: who loads holds a lock key,
// whose value is its own and whose TTL comes with it in one command, and renews it while the loader
// runs. Others watch the entry, at most for the lock's TTL, and then load for themselves without
// keeping the result. An entry is written and its lock released by one script that does neither
// unless the lock is still the loader's. So whoever takes a lock away stops a result that is under
// way from being kept: that is how [Cache.Upsert] and, without epochs, [Cache.Invalidate] win over
// running loaders.
//
// # Tag epochs
//
// With Config.Epochs every tag has a counter. The counters of an entry's tags are read before its
// loader runs and stored in the entry; an entry is used only if all of them still stand as they did.
// [Cache.Invalidate] moves the counters. These hold at every moment, whoever dies or is evicted:
//
//   - After Invalidate has returned, no Get that begins uses an entry or a running load from before
//     it, nor waits for one. The exception is a Get of another process that Redis does not answer:
//     it cannot know, and joins a load of its process.
//   - A counter that is not there starts at random, between 2^32 and 2^52, before the loader runs.
//     An evicted counter therefore does not come back to a value that an entry holds. Counters that
//     the old release began at 1 are below 2^32: no entry is ever filled under one, it is started at
//     random first.
//   - A bump that the server refuses (full memory, a counter that is no integer) becomes an UNLINK of
//     the counter, which invalidates as well. One that fails altogether is an error: the caller must
//     not tell anybody that the change is visible.
//
// Without Config.Epochs, Invalidate removes the locks of running loaders and then the entries, by
// SCAN and UNLINK. A Get of another process may then still be given what a loader that was running
// returns; nothing of it is kept.
//
// A process with epochs never uses an entry without versions, and one without epochs never one with
// them, as it would not see them invalidated. While the processes of a fleet differ in the setting,
// an invalidation by one with epochs is not seen by those without, until the lifetime ends: change
// the setting everywhere at once, or wait that long.
//
// What the old release stored (plain JSON, without our envelope) is a hit without epochs if it is
// JSON, as fresh, and is never used with them.
//
// # Failures
//
// Get never fails because of Redis: the loader answers. Lookup, Upsert and Invalidate return an
// [unavailable.Error]. An identifier that cannot stand in a key is a [keys.InvalidError]. A value
// that is damaged, too large once decompressed, of another key or of another Redis type is a miss,
// counted as corrupt, and is overwritten.
//
// A Redis Cluster is refused: an entry, its counters and its lock lie in different slots.
package querycache
