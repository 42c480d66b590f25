// Package failsoft is what services that go on without Redis have in common: a client that gives up
// in time, and an outage that is told once when it begins and once when it ends.
package failsoft
