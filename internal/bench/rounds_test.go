package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Rounds and the time that one variant runs in each.
const (
	rounds    = 15
	roundTime = 60 * time.Millisecond
)

// operation runs once against a key chosen by n, on one of the goroutines.
type operation func(ctx context.Context, goroutine, n int) error

// sample is what one variant did in one round.
type sample struct {
	perSecond float64
	p99       time.Duration
}

// measure runs an operation on a number of goroutines for a time.
func measure(b *testing.B, goroutines int, op operation) sample {
	b.Helper()
	ctx := b.Context()
	latencies := make([][]time.Duration, goroutines)
	errs := make([]error, goroutines)
	began := time.Now()
	end := began.Add(roundTime)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for n := 0; ; n++ {
				start := time.Now()
				if start.After(end) {
					return
				}
				if err := op(ctx, g, n); err != nil {
					errs[g] = err
					return
				}
				latencies[g] = append(latencies[g], time.Since(start))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return sample{perSecond: float64(len(all)) / took.Seconds(), p99: all[len(all)*99/100]}
}

// ratio is a median with the interval of its neighbours in rank.
type ratio struct{ median, low, high float64 }

// ratioOf is the median of ratios and its interval: of 15 sorted values the 4th and the
// 12th hold the median between them with 96 %.
func ratioOf(values []float64) ratio {
	slices.Sort(values)
	n := len(values)
	return ratio{values[n/2], values[n/4], values[n-1-n/4]}
}

func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", r.median, r.low, r.high) }
