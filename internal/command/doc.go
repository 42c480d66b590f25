// Package command knows the commands of Redis and Valkey: which arguments of
// a command are keys, and what may be done with the command while its keys
// have two names.
//
// Facts and judgement are kept apart. The facts (arity, flags, where the keys
// are) are what servers say about themselves: table_gen.go is written by
// internal/command/gen from COMMAND and COMMAND DOCS, and a command that is
// not in it is learned from the server with [FromInfo]. The judgement, whether
// a command gives the same result on equal data, is a literal list of families
// in families.go, each with its reason.
//
// Everything fails closed: a write that is on no list is recopied, a command
// whose keys cannot be told is refused, and arguments that do not parse give an
// error, because the server will answer them with an error as well.
//
// The package is pure: no I/O, no clock, no locks. Its tables do not change
// after the start of the program and may be used by any number of goroutines.
package command

//go:generate go run ./gen -out table_gen.go -supplement gen/supplement.json
