// Package fleet is the side of an instance in what a fleet of processes has to agree on,
// through records under the plan's control prefix in the same Redis. It is linked by every
// application, so it decides nothing and runs no sweep.
//
// # A process that is led
//
// An [Agent] joins the fleet, renews its [Lease], takes the [Engine] to the [Target] of each
// rule and says in its [Instance] record what was reached. These hold:
//
//   - "Reached" is said when no command that was sent under an earlier phase is under way on
//     any connection, open or closed.
//   - A lease counts from when its renewal began, less a margin. The server dates the renewal
//     later, so an instance refuses commands of the rules that are not parked before anybody
//     can take it for lost. A rule at legacy or at prefixed needs no lease.
//   - A connection is admitted before its first command: its CLIENT ID enters the instance's
//     record by a script that succeeds only where the record is, and while something moves only
//     under its lease. Who removes the record takes the list of connections with it in the same
//     script and closes them. So nothing that a dead instance has left behind runs later.
//   - A target is followed only if it is of the epoch that was followed before and of a higher
//     [Mark]. Records that are gone, of another epoch, turned back, or of another history under
//     the same mark stop the rule ("rekey: lease lost") until they are restored; a parked rule
//     goes on. A process that joins follows no record that is older than what a living instance
//     has reached, and begins none while one lives.
//
// # A process that obeys flags
//
// Nobody leads it. An [Observer] shows it to the fleet as long as the records can be reached,
// and nothing of the process depends on that. What else can be known of such a fleet is when
// a process last entered a phase ([Evidence.Entered]) and what the sweeps proved
// ([Evidence.Proven]). A gate's verdict counts if its sweep began when the whole fleet
// was in the step's first phase, which for flags means: after the last process entered it. A
// process that restarts in that phase enters it again, so the verdict is wanted anew. That
// is stricter than needed, and never wrong.
package fleet
