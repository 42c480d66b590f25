// Package rewrite turns one command of the application, and the phases of its
// keys, into the commands that are sent in its place and the way to fold their
// replies into the one reply that the application expects.
//
// It is the part of rekey on which correctness rests, so it is pure: no I/O, no
// clock, no lock. [Builder.Command] reads a [Command] and fills the builder with
// [Line]s. Each line has a [Role], which says what its reply means. A caller
// sends the lines in one MULTI/EXEC where [Builder.Transaction] says so, or as
// one script ([Builder.AppendScript]) while a WATCH of the application is open.
//
// What each phase does is the literal table in mirror.go and move.go, in the
// order of the walk; the argument for each COPY, UNLINK and RENAMENX in it is in
// docs/protocol.md, and the exhaustive search over this very code is in
// model_test.go.
//
// The words are those of the design: a logical key has a legacy name L and a
// target name P; "C a b" is COPY a b without REPLACE, which does nothing if b
// exists and keeps the TTL.
package rewrite
