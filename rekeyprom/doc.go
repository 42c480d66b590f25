// Package rekeyprom exports the counters of an instance of package rekey to Prometheus.
//
//	prometheus.MustRegister(rekeyprom.New(r))
//
// It reads [rekey.Rekey.Stats] when it is scraped and keeps nothing, so it costs nothing in between.
// Labels are names of the plan's rules and words of small closed sets, never keys or values. Every
// series of a rule but those of rekey_commands_total is there from the first scrape on, at zero, so that
// an alert sees the first event. docs/metrics.md says what to look at.
//
// How long rekey's own work takes is not measured: two looks at the clock for every command would be a
// good part of the 0.8 µs that a command costs which passes untouched, and what the server adds in a
// transaction cannot be told from what the network does. The benchmarks measure both (`make bench`).
package rekeyprom
