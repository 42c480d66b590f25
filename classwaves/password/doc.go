// Package password stores passwords as hashes that are expensive to guess: argon2id (RFC 9106), with
// its parameters in the hash.
//
// # Invariants
//
//   - A hash is compared in constant time.
//   - At most [Config].Parallel hashes are computed at once, because each takes [Config].Memory; the others
//     wait, as long as their context lets them. A flood of logins costs time, not memory.
//   - A check against [Hasher.Dummy] does the same work as one against a real hash and fails, so a login
//     with an unknown email takes as long as one with a wrong password.
//   - Parameters are read from the hash, within limits: a stored hash cannot ask for a gigabyte.
//
// [Hasher.NeedsRehash] says of a hash whether it was made with less than is asked for today; after a
// successful login the caller hashes again and stores that.
package password
