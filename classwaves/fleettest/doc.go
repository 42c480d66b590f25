// Package fleettest holds the tests of a whole fleet: four server processes behind a balancer, on one
// real Redis and one database, under the load generator, while an operator takes them from phase to
// phase: by rekey run and rekey rollback, with a server killed on the way, or by their flags with the
// sweeps in between. It has no code of its own.
//
// The walk by rekey run needs nothing but a Redis; with the build tag postgres there is PostgreSQL
// behind it, as behind all other tests here.
package fleettest
