// Package rekeyprom exports the counters of an instance of package rekey to Prometheus.
//
//	prometheus.MustRegister(rekeyprom.New(r))
//
// It reads [rekey.Rekey.Stats] when it is scraped and keeps nothing, so it costs nothing in between.
// Labels are names of the plan's rules and words of small closed sets, never keys or values. Every
// series of a rule but those with a class is there from the first scrape on, at zero, so that
// an alert sees the first event. docs/metrics.md says what to look at.
package rekeyprom
