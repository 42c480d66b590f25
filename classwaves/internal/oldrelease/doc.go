// Package oldrelease is a model of the release that ClassWaves had before: its own dual reads and dual
// writes, with the faults that they have. It is for tests only, which show what it gets wrong and that
// rekey does not.
//
// A [Process] is in one of three states:
//
//   - [Old], both flags off: reads, writes and deletes the legacy name.
//   - [DualWrite], both flags on: writes and deletes both names, reads the prefixed one, then the legacy one.
//   - [PrefixedOnly], dual write off: writes and deletes the prefixed name, reads the prefixed one, then the
//     legacy one, for the flag that turns prefixes on is also the one that turns fallbacks on.
//
// Every operation is some commands one after another, as the release sent them; nothing is atomic. The
// names are those of package keys; the prefixed name is the same behind cw:{env}: .
//
// A Process in state Old is also a program that knows nothing of a migration: over rekey's dialer it is
// what the release becomes when rekey migrates it, with its flags off.
package oldrelease
