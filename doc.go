// Package rekey moves live Redis and Valkey keys from one naming scheme to another while the
// applications keep running: no downtime, no lost write, no stale read, and a way back at every
// step.
package rekey
