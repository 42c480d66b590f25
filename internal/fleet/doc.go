// Package fleet is the side of an instance in what a fleet of processes has to agree on,
// through records under the plan's control prefix in the same Redis. It is linked by every
// application, so it decides nothing and runs no sweep.
//
// So far it serves processes that obey flags. Nobody watches such a fleet; what can be known
// of it is when a process last entered a phase ([Evidence.Entered]) and what the sweeps
// proved ([Evidence.Proven]). A gate's verdict counts if its sweep began when the whole fleet
// was in the step's first phase, which for flags means: after the last process entered it. A
// process that restarts in that phase enters it again, so the verdict is wanted anew. That
// is stricter than needed, and never wrong.
package fleet
