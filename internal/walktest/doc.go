// Package walktest holds the histories of a live migration against Porcupine: four instances, each
// with go-redis and rueidis, work on few keys of a real server while the fleet walks through the
// phases and back, the sweeps of the gates run beside them, and every operation is recorded. Per
// logical key the history must be linearizable, whatever the phases did meanwhile.
//
// It holds tests only. Their power is shown by their negations: the same traffic over the plain flag
// flip, over a walk with one of the gates left out, and over one that does not wait for late bytes,
// must be found out.
//
//	go test ./internal/walktest                              // each route once
//	REKEY_WALK_SECONDS=60 go test ./internal/walktest        // each route again and again for a minute
//	REKEY_WALK_SEED=42 go test ./internal/walktest           // the choices of an earlier run
//
// A seed repeats what the workers ask for and in which order the instances change; how the server
// interleaves it is another roll of the dice.
package walktest
