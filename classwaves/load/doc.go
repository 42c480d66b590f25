// Package load plays teachers and students against a ClassWaves server, through HTTP and WebSockets,
// and checks every answer against a model of what it has done. It knows the server by its API alone.
//
// # What must hold
//
// Whatever happens behind the server, a migration of its keys for one:
//
//   - a login that was not ended is never refused ([LostSession]), one that was logged out, here or
//     everywhere, or displaced by later ones, is never accepted again ([RevivedSession]);
//   - right credentials log in and wrong ones never do ([FailedLogin], [WrongLogin]);
//   - the session's CSRF token is never refused ([CSRFRefused]), a wrong or missing one always is
//     ([CSRFAccepted]);
//   - an access code leads to its own class session ([WrongClass]), as long as that is not ended
//     ([LostCode]), and never after its end ([RevivedCode]);
//   - nobody sees another teacher's class session ([ForeignSession]);
//   - what a teacher reads is what was written before ([Stale]);
//   - a limit gives its budget once: not more ([LimitExceeded]), not less ([LimitCut]), and whoever is
//     within it is not refused ([Limited]);
//   - every participant, alert and sample is counted once ([Miscounted]), figures never go back
//     ([WentBack]), and subscribers hear of every change ([Unheard]);
//   - no other answer comes than those of the API ([Unexpected]), and none is missing ([Broken]).
//
// A 503 decides nothing: it is counted apart, and is a violation ([Unavailable]) unless the caller says
// that faults are injected.
//
// # The model
//
// A teacher does one thing after another, so that it knows which of its logins are the last three and
// what state its class sessions are in. Its students run beside it: what they do is counted when it
// begins and when it is known to be done, and a figure that the server shows must lie between the two
// counts. When the students pause the two are one. A WebSocket's messages are not acknowledged, but
// taken one after the other: a message of a kind that there is not, which is answered, tells that those
// before it are done.
//
// After an answer that leaves open what happened, a teacher ends all of its logins and begins anew.
//
// Users of the same class hear of its figures in the order of their publication, which is not always that
// of their versions: two processes may publish at the same time. A version that is lower than one heard a
// moment before is counted as reordered; lower than one heard long before it is a violation.
package load
