// Package demo moves a live keyspace to prefixed names and back under traffic, with a checker that
// knows what every key must hold. It is what a newcomer runs first, and a test of the whole at once:
// the same Dialer, the same sweeps and the same steps as in production, on a server that is started
// for the purpose or on a real one.
//
//	demo.go      Run: server, keys, traffic, walk, report
//	options.go   what can be chosen
//	kinds.go     the eleven kinds of keys and what the application does with them; the plan
//	cells.go     the uses of a key, cells_set.go those of a set and of two keys together
//	keyspace.go  all keys: filled, picked from, checked
//	model.go     what a key must hold: registers, counters, sets, expiry; the judgement of a reply
//	traffic.go   workers, and what they count; histogram.go how long replies took
//	instance.go  an instance: a process of the fleet, with go-redis or rueidis (client.go) over rekey
//	naive.go     the same with the plain flag flip in place of rekey
//	walk.go      the steps, one instance after the other, and the sweeps at the gates
//	server.go    the embedded server or a real one; clock.go the time by which its keys expire
//	report.go    the result
//	observer.go  who is told meanwhile: plain.go json.go terminal.go
//
// # How a reply is judged
//
// A key belongs to one worker at a time, whichever instance the worker is of, so the next command on
// a key usually comes from another instance, which may be in another phase. What the last
// acknowledged write left is then the only right answer: something else is lost (it is not there),
// stale (an older value) or revived (it was deleted or has expired). Tag versions are counted by all
// workers at once: their replies are judged by what was acknowledged before the command and begun
// before its end. Expiry is judged by the times between which the server got the command. After a
// violation the model takes over what it saw, so that one fault is counted once.
package demo
