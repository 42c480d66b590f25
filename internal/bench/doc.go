// Package bench measures what rekey costs, as ratios to the same work without it in the same run:
// commands through the Dialer beside a bare go-redis, and redis-benchmark through the proxy beside the
// server itself and beside nutcracker.
//
// Every figure is the median over interleaved rounds of the ratio inside the round, with
// the interval that holds the true median with at least 95 %: absolute figures drift by a
// third on a shared machine, ratios taken side by side do not.
//
//	go test -run '^$' -bench BenchmarkDialer ./internal/bench
//	make bench-proxy
package bench
