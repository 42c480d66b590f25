// Package fleettest holds the tests of a whole fleet: four server processes behind a balancer, on one
// real Redis and one PostgreSQL, under the load generator, while an operator takes them from phase to
// phase by their flags and runs the sweeps in between. It has no code of its own.
package fleettest
