// Package accesscode gives class sessions the short codes by which students join them.
//
// A code is kept in three places: two keys in Redis, code to session and session to code, which the
// processes of the release before this one read and write too, and the database (the [Directory]),
// which is the truth.
//
// # What always holds
//
//   - No two sessions share a code. A code is reserved in Redis first (SET NX on its key), which also
//     sees codes of the old release, then given out by the database, where it is unique.
//   - A code never leads to another session than the one that has it. The two keys are believed only
//     when they agree: code to session, and that session back to the same code. Anything else is asked
//     of the database.
//   - The two keys are written and removed together, by one script each. The pair is written only
//     while the code's key still holds this session's reservation, and after the database was asked
//     since the reservation was made: whoever is late (paused, or with an answer of the directory from
//     before the code went to somebody else) writes nothing.
//   - A code is free again only after Redis has forgotten it: [Codes.Release] removes the pair first
//     and frees the code in the directory then. So the directory alone can give out codes in an
//     outage, and no pair that Redis kept leads to whoever had the code before.
//
// A crash between any two of these steps leaves a reservation without its other half, which ends
// within [ReserveFor] and is never believed, or a database that knows more than Redis, which answers.
//
// # States
//
// Found, certainly absent, unavailable: (value, true, nil), ("", false, nil) and an
// *[unavailable.Error]. Redis unavailable: the directory answers, for reads and for new codes (which
// it alone cannot compare with those of the old release); a code cannot be released then. The
// directory unavailable: pairs that agree in Redis are still answered. Both: unavailable. What Redis
// missed while it was out is put right by the reads that find its keys missing or not agreeing.
package accesscode
