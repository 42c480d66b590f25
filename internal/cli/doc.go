// Package cli is the command line of rekey: one file per subcommand, and around them what they
// share.
//
//	run.go      Run: arguments to an exit code
//	root.go     the commands and the global flags
//	failure.go  errors: what happened, what to try, the exit code
//	connect.go  the plan and the server that the global flags name
//	output.go   text for people, JSON for programs
//	columns.go  tables
//	completion.go  what a shell offers
//
// The commands of the fleet share more:
//
//	fleet.go    the plan, the server and the control records
//	status_*.go what the records mean, as JSON, as lines, as a terminal program (watch.go)
//	walk.go     run, advance and rollback: what they are told, what they would do (dryrun.go), what happens
//	            (events.go), where it ended
//	explain.go  what holds a walk up, in words
//
// What holds for every command:
//
//   - The environment is named, by --env or by the plan. A shell must not walk an environment that
//     nobody named.
//   - Exit codes: 0 done, 1 failed or violated, 2 usage or plan, 3 a gate does not hold.
//   - An error ends with a line that says what to try next.
//   - A password is never printed. Names of keys hold identifiers of sessions: they are printed
//     with their variables masked, unless --show-keys asks for them.
//   - With --json the output is one JSON object, or one per line with a type in each; an error is
//     an object on standard error.
//   - Output goes to the writers that Run was given, never to the process's own.
package cli
