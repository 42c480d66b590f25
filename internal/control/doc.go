// Package control decides: it takes the rules of a fleet from phase to phase, one step at a time. It is
// linked by the command line and by no application.
//
// # Who may write
//
// One controller at a time holds the lock, a record with an owner, a generation and a time until which it
// is held. Each acquisition counts the generation up, from the highest that any record knows, so that it
// does not fall when records are lost or turned back. Every write of a controller is one script that first
// compares the lock record with what the controller wrote into it (all of it but the time): one who was
// overtaken, by [Options.TakeOver] or because its time ran out, writes nothing any more, however late its
// bytes arrive, and gets a [FencedError]. A sweep writes keys and not records, so its connections are
// admitted under the lock, and who acquires the lock next closes them on the server before doing anything.
//
// # A step
//
// A rule goes from phase A, its target, to phase B when all of this holds:
//
//  1. every instance whose lease has not run out says that it has reached exactly the present target. One
//     with another plan for the rule, without the rule, with another record format, or that obeys flags,
//     holds the rule up and is named;
//  2. the instances whose leases have run out, or that the operator named, are gone: their records are
//     removed, and each of their connections was closed on the server by CLIENT KILL;
//  3. the gates of the step are proven by sweeps that began after 1 was seen to hold, on this server and
//     this history of its data;
//  4. the connected replicas have acknowledged all of it.
//
// Then one script writes the target, if the lock, the present target, the instances and the server are
// still those on which this was decided. It removes all verdicts on the rule, because what was proven in A
// says nothing of B, and adds the step with its evidence to the audit log. A sweep that somebody runs beside, by
// his word for the phase, is known by the record that goes: its connections are closed first. The step is done when all
// instances have reached B and the connected replicas have acknowledged it: a failover does not turn it back.
//
// All that a controller needs to go on is in Redis, so it may be killed between any two writes.
//
// # What is never guessed
//
// Records that are gone, that are older than what an instance has seen, of another plan or of a newer
// format stop everything, with [fleet.ErrRestore] in the error where restore-phase goes on.
package control
