// Package beside measures what a service takes beside the bare Redis commands that it needs. Both take
// turns, so that whatever else the machine does falls on both alike. It is for benchmarks only.
package beside

import (
	"testing"
	"time"
)

// Way is something that a service is measured beside. Ratio is the name under which it is reported how
// many times as long the service takes: x-bare.
type Way struct {
	Ratio string
	Do    func() error
}

// Bare measures a service's operation beside the bare commands that it needs.
func Bare(b *testing.B, service, bare func() error) {
	b.Helper()
	Ways(b, service, Way{"x-bare", bare})
}

// Ways is [Bare] with several things beside the service. It reports the service's own time as
// ns/service: ns/op is that of a whole turn.
func Ways(b *testing.B, service func() error, ways ...Way) {
	b.Helper()
	took := make([]time.Duration, len(ways))
	var own time.Duration
	b.ReportAllocs()
	for b.Loop() {
		own += timed(b, service)
		for i := range ways {
			took[i] += timed(b, ways[i].Do)
		}
	}
	b.ReportMetric(float64(own.Nanoseconds())/float64(b.N), "ns/service")
	for i, w := range ways {
		b.ReportMetric(float64(own)/float64(took[i]), w.Ratio)
	}
}

func timed(b *testing.B, do func() error) time.Duration {
	b.Helper()
	began := time.Now()
	err := do()
	took := time.Since(began)
	if err != nil {
		b.Fatal(err)
	}
	return took
}
