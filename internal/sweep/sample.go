package sweep

import (
	"encoding/binary"
	"hash/maphash"
	"math"
)

// Sample is what a verify of some of the keys says about all of them. Every key of the rule is picked with the same
// probability, independently of the others, by a hash of its name under a random seed; so a name that SCAN gives twice, or that
// is met under both names, is picked always or never.
type Sample struct {
	Rate     float64 `json:"rate"`     // the probability
	Compared int64   `json:"compared"` // keys that were
	Differ   int64   `json:"differ"`
	// AtMost is the largest part of all keys that may differ: were it more, so few would be found in less than one of 20
	// samples. It is the upper bound of Clopper and Pearson at 95 %, one-sided.
	AtMost float64 `json:"at_most"`
}

// confidence is that of a sample's bound.
const confidence = 0.95

// sampling picks keys.
type sampling struct {
	seed maphash.Seed
	rate float64
}

func newSampling(rate float64) sampling { return sampling{maphash.MakeSeed(), rate} }

// picks says whether a key is in the sample.
func (s sampling) picks(legacy string) bool {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(legacy) // it never fails
	return float64(binary.LittleEndian.Uint64(h.Sum(nil)))/math.MaxUint64 < s.rate
}

// upperBound is the largest probability of a difference under which no more than k of n differ in 5 of 100 samples. n of
// 0 says nothing.
func upperBound(k, n int64) float64 {
	if k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 60 { // halved, until a float has no more digits
		if p := (low + high) / 2; atMost(k, n, p) > 1-confidence {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the probability that a binomial variable of n tries is k or less.
func atMost(k, n int64, p float64) (sum float64) {
	logN, _ := math.Lgamma(float64(n + 1))
	for i := int64(0); i <= k; i++ {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(logN - a - b + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}
