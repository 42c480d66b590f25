// Package faulttest breaks things around rekey on a real server: connections that end in the middle
// of a command, bytes that arrive after their socket was closed, full memory, evictions, replicas,
// missing rights, clocks that move, peers that send nonsense.
//
// It holds tests only. What a model of atomic operations leaves out is where such tools break, and
// each fault here broke a straightforward version of the protocol. A test therefore shows as well
// that the fault is one: the naive form, sent by hand over a bare connection beside the test, loses
// or revives what the engine keeps. Where the naive form can only be had by taking a mend out of
// the engine, the test says so.
package faulttest
