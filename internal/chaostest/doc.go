// Package chaostest holds a whole fleet against Porcupine: instances, a controller and the server are
// processes of their own, which are killed, stopped, cut off and started again while the rules are walked
// up and down. Every operation is recorded, and per logical key the history must be linearizable.
//
// It holds tests only. What they can find is shown by their negations: the fencing, the wait before an
// acknowledgement, the check of the lease and the gates are taken out one by one, and the faults aimed at what
// each of them is there for.
//
//	go test ./internal/chaostest                                       // without the chaos, and with fewer failovers
//	REKEY_CHAOS_SECONDS=300 go test ./internal/chaostest               // five minutes of it, and until every phase was seen
//	REKEY_CHAOS_SECONDS=300 REKEY_CHAOS_SEED=42 go test ./internal/... // the choices of an earlier run
//
// A seed repeats what is asked for and which faults are made; how they fall together is another roll of the
// dice.
package chaostest
