// Package sweep is the jobs that walk all keys of one rule with SCAN: purge, backfill, verify, reverse, cleanup and
// relocate. Each has a file, and in it the argument why it may run beside the application's writes: what it does to a
// key that changes, expires, is deleted or is created at the same moment. [Count] only looks.
//
// The words are those of the design: a logical key has a legacy name L and a target name P.
//
// # What every job relies on
//
//   - SCAN returns every name that exists from its beginning to its end. It says nothing about a name that appears
//     meanwhile. So a job proves something about all keys only if, in the phase of the whole fleet, no writer makes a key
//     that lacks what the job gives. Therefore every job has phases in which it may run, and refuses others with a
//     [PhaseError]; and a gate is proven only by a sweep that starts when the whole fleet is in the phase. Until there is
//     a control plane, that is the caller's word ([Options.Phase]).
//   - SCAN may return a name twice, and a name that is gone when it is used. So every change is one command, or one
//     transaction, that looks at the keys as they are when it runs, and doing it twice does what doing it once does. A
//     sweep that was killed starts over and loses nothing but time.
//   - A glob matches more than a template. Every name is asked of the rules again ([keyname.Set.Find]), which also keeps
//     the control keys out, whatever the templates say.
//
// # Verdicts
//
// A sweep that came to its end stores a [Verdict] under the control prefix: what it proved, and when by the server's
// clock. While a sweep runs there is none: its first command removes the one that it would renew, so a killed sweep
// leaves no verdict, and a sweep whose record was removed meanwhile (by the step that undoes what it proves, see
// [Store.Remove]) stores none. Before the verdict is stored all connected replicas have acknowledged all that the sweep
// did, or it does not hold: a failover would bring back, or lose, the data of days ago.
//
// # Resources
//
// At most four pages of names are held, two at work, one that waits and one on its way, and a bounded number of examples.
// Only verify moves values, and reads big ones in pieces. The client's options are used for connections of the sweep's
// own, without retries: what a lost reply hides is found again by the next run.
package sweep
