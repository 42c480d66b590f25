// Package inventory finds out what is in a keyspace that nobody documented. It walks over all names with SCAN, asks for
// each key's type, time to live, idle time and size, and sums that up by shape: the templates that package shape proposes
// for the names.
//
// It changes nothing and needs no more than the right to read. What the server or the user's rights do not allow is left
// out, and named in the report. TYPE, PTTL, OBJECT IDLETIME and MEMORY USAGE leave a key's idle time as it is; counting the
// elements of the biggest keys does too where the server has CLIENT NO-TOUCH (7.2), and else resets theirs, which the
// report says.
//
// Memory is bounded: by the shapes that are told apart, by the biggest keys that are kept by name, and by one page of names.
package inventory
