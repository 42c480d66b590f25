// Package fleettest holds the tests of a whole fleet: four server processes behind a balancer, on one
// real Redis and one database, under the load generator, while an operator takes them from phase to
// phase: by rekey run and rekey rollback, with a server killed on the way, or by their flags with the
// sweeps in between. It has no code of its own.
//
// The walk by rekey run, TestRollout, needs nothing but a Redis; with the build tag postgres there is
// PostgreSQL behind it. All other tests here (TestWalk by flags, TestPlainFlip, which must find what a plain
// flip breaks, TestOutages) take half a minute to some minutes and have that tag: make test runs none of
// them, make test-tags does, and with it make test-all and .ci/run.
package fleettest
