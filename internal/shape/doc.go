// Package shape proposes templates for names that nobody documented: it is shown one name after the other, holds a bounded
// number of places, and says at the end what the names look like, in the language of templates of a plan.
//
// # What is promised
//
//   - Every name belongs to exactly one of the proposed templates: each matches all names that were counted for it, and no
//     two match one name. (The empty name is the exception: no template has it.)
//   - The memory is bounded whatever the names are: so many places, each with a few short strings.
//   - A literal of a template is printable UTF-8, so that a plan can be written in it; what is not becomes part of a variable.
//
// # How
//
// A ':' ends a variable and nothing else does, so a name is cut at each ':' into segments, and the names are a tree of
// segments. What other characters separate within a segment ('/', '.', '-', '|', a space ...) is judged token by token: a number, a
// UUID, hexadecimal, something random is an identifier; a word is a literal until there are too many words at its place. A
// segment has one variable at most, from its first identifier to its last one: user-{n} and v1/{n}/profile, and also
// order-{n} for order-17-3, for nothing but a ':' can stand between two variables.
//
// While names come in, a place with too many different segments gives up the part in which most of them differ
// ([Tree.Add]); only what is frequent keeps its own place. At the end ([Tree.Shapes]) words that are no more than values are
// merged, then everything whose names could meet, and what is left is disjoint by construction: two templates that could
// match one name are one.
//
// The package is pure: bytes in, templates out.
package shape
