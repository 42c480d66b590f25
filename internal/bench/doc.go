// Package bench measures what rekey costs: throughput and p99 of commands through the
// Dialer, as ratios to a bare go-redis in the same run.
//
// Every figure is the median over interleaved rounds of the ratio inside the round, with
// the interval that holds the true median with at least 95 %: absolute figures drift by a
// third on a shared machine, ratios taken side by side do not.
//
//	go test -run '^$' -bench BenchmarkDialer ./internal/bench
package bench
