package inventory

import "testing"

// TestErrorOfASample: one value of many says nothing of the others, and all of them leave no error.
func TestErrorOfASample(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []int64
		of     int64
		sum    int64
		atMost int64
		least  int64
	}{
		{"one of many", []int64{1000}, 50, 50_000, 50_000, 50_000},
		{"the only one", []int64{1000}, 1, 1000, 0, 0},
		{"all", []int64{10, 20, 30}, 3, 60, 0, 0},
		{"two of many, far apart", []int64{0, 1000}, 100, 50_000, 105_000, 90_000}, // 2 * 100 * 707 / sqrt(2), of which 2 in 100 are known
	} {
		var m moments
		for _, v := range c.values {
			m.add(v)
		}
		if sum, err := m.total(c.of); sum != c.sum || err < c.least || err > c.atMost {
			t.Errorf("%s: got %d, off by %d; want %d, off by %d to %d", c.name, sum, err, c.sum, c.least, c.atMost)
		}
	}
}

// TestMedianIsWithinAFifth, wherever in its bucket the value is.
func TestMedianIsWithinAFifth(t *testing.T) {
	for v := int64(16); v <= 4096; v++ {
		var s spread
		for _, one := range []int64{1, v, v, v, 1 << 40} {
			s.add(one)
		}
		if got := s.median(); max(got-v, v-got) > v/5+1 {
			t.Errorf("the median of %d is told as %d", v, got)
		}
	}
}
