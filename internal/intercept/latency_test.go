package intercept

import (
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	var l Latency
	var want time.Duration
	for i, bound := range AddedBounds {
		for _, d := range []time.Duration{bound, bound + 1} { // the second one is of the next bucket
			l.add(d)
			want += d
		}
		if i > 0 && bound <= AddedBounds[i-1] {
			t.Errorf("bound %v is not above the one before", bound)
		}
	}
	counts, sum := l.Counts()
	for i, n := range counts {
		if ends := i == 0 || i == len(counts)-1; ends && n != 1 || !ends && n != 2 {
			t.Errorf("bucket %d holds %d", i, n)
		}
	}
	if sum != want {
		t.Errorf("the sum is %v, want %v", sum, want)
	}
}
