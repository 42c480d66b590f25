package sweep

import (
	"fmt"
	"math"
	"testing"
)

// TestUpperBound against tables of Clopper and Pearson.
func TestUpperBound(t *testing.T) {
	for _, c := range []struct {
		k, n int64
		want float64
	}{
		{0, 10, 0.2589}, {0, 100, 0.02951}, {0, 1000, 0.002991}, {0, 100_000, 0.00002996},
		{1, 10, 0.3942}, {5, 100, 0.1023}, {50, 1000, 0.0630}, {10, 10, 1}, {0, 0, 1},
	} {
		if got := upperBound(c.k, c.n); math.Abs(got-c.want) > c.want*0.003 {
			t.Errorf("%d of %d: got %.6f, want %.6f", c.k, c.n, got, c.want)
		}
	}
}

// TestSamplingPicksAPart, always the same keys, and about as many as it is to.
func TestSamplingPicksAPart(t *testing.T) {
	s, picked := newSampling(0.1), 0
	for i := range 20_000 {
		name := fmt.Sprintf("thing:%d", i)
		first := s.picks(name)
		if s.picks(name) != first {
			t.Fatal("a key was picked once and once not")
		}
		if first {
			picked++
		}
	}
	if picked < 1700 || picked > 2300 { // 7 deviations
		t.Errorf("picked %d of 20000, want about 2000", picked)
	}
	if newSampling(1).picks("x") != true || newSampling(0).picks("x") {
		t.Error("all or none")
	}
}
