// Package keyname maps the names of keys: templates such as secure_session:{id}, pairs of a legacy and a
// target template, and sets of pairs that answer what a name is.
//
// # Templates
//
// A template is literals and variables. {id} stands for one or more bytes other than ':', {rest...} for one
// or more bytes of any kind, {env} for the environment, which is filled in when the template is parsed; {{ and
// }} are literal braces. Names are arbitrary bytes and nothing is ever replaced in them.
//
// Formatting must be undone by parsing, for all values, or two legacy keys could share one target. So a
// template is refused unless every name has at most one reading. That is the case exactly when
//
//	(1) at most one variable is of the {rest...} kind, and
//	(2) between any two neighbouring variables stands a literal that holds a ':'.
//
// Necessary. Let two neighbouring variables have a literal w without ':' between them (w may be empty). Then
// 1 w 1 w 1 can be split after the first 1 and before the last; no part holds a ':', so each part is a value of
// either kind. Let two variables be of the {rest...} kind and let m be the text between them with all variables
// in between set to 1. Then 1 m 1 m 1 has two readings in the same way, for {rest...} may hold m.
//
// Sufficient. Call the {rest...} variable the pivot, or else the last variable. Every variable before the pivot
// has no ':' of its own and is followed by a literal u:v with u free of ':', so it ends len(u) bytes before the
// first ':' that follows its beginning. From the end of the name, each variable after the pivot begins, in the
// same way, a fixed distance after the last ':' before its end. The pivot is what is left. Nothing was chosen,
// so there is one reading at most, and it is found in one pass without going back.
//
// # Pairs
//
// A [Pair] binds the same variables, of the same kinds, on both sides, so its mapping is injective and
// [Pair.AppendLegacy] is the exact inverse of [Pair.AppendTarget]. A pair whose legacy template also matches its
// own target names (a catch-all such as {key...} to cw:{env}:{key...}) never takes such a name for a legacy
// name, whatever environment wrote it.
//
// # Sets
//
// A [Set] is refused unless every name belongs to at most one pair, in one role. Overlap is decided exactly,
// on the product of the two templates read as automata, and a refusal carries a shortest name as the example.
//
// The package is pure: bytes in, bytes out.
package keyname
