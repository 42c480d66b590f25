// Package difftest holds the engine against a bare server: the same commands to both, equal
// replies and equal data back, in every phase and in every pair of phases that may stand side
// by side. It has tests only.
//
// One server is used by the application of the test directly. On the other, every connection is
// an [intercept.Conn], two at a time, each in a phase of its own, and the data that both start
// from lies under the legacy name, the target name or both, as the phases allow. Commands go to
// one connection or the other; after each the replies are compared byte by byte, and at the end
// what both servers hold.
//
// A sequence of commands follows from a seed, which is printed. One that fails is shrunk to a
// few lines that read as a transcript. Two lists say what the tests leave open: allowed, the
// differences that they let pass, and uncovered, the commands that they do not send; each entry
// has its reason. What the tests do find is shown by feeding them naive rewritings.
//
//	REKEY_DIFF_SECONDS=600 go test ./internal/difftest    // longer than the normal run
//	REKEY_DIFF_SEED=42 go test ./internal/difftest        // the sequences of an earlier run
package difftest
