// Package rekey moves live Redis and Valkey keys from one naming scheme to another while the
// applications keep running: no downtime, no lost write, no stale read, and a way back at every
// step.
//
// An application opens a plan and gives its Redis client another dialer. Nothing else in it
// changes; it goes on using one name for each key, and either of the two will do:
//
//	p, err := plan.Load("rekey.yaml")
//	r, err := rekey.Open(ctx, p, rekey.WithFlags(os.LookupEnv))
//	rdb := redis.NewClient(&redis.Options{Addr: addr, Dialer: r.Dialer(nil)})
//
// What the instance does with each rule's keys is the rule's phase. Phases come from exactly one
// place: they are pinned ([WithPhases]), chosen by the environment ([WithFlags]), given by a
// [Source] ([WithSource]), or those of the fleet's records, which an operator moves ([WithFleet]). A change takes effect between two commands of open connections;
// [Rekey.WaitReached] tells when no command of an earlier phase is under way any more.
//
// The meaning of each phase, and why the steps between them are safe, is in docs/protocol.md of
// the repository.
package rekey
