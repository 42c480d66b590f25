package load

import (
	"math"
	"time"
)

// histogram counts durations in buckets that are 5 % apart.
type histogram struct {
	count   uint64
	buckets [buckets]uint64
}

const (
	buckets    = 400 // from a microsecond to five minutes
	bucketStep = 1.05
)

func (h *histogram) add(d time.Duration) {
	i := int(math.Log(max(float64(d)/float64(time.Microsecond), 1)) / math.Log(bucketStep))
	h.buckets[min(i, buckets-1)]++
	h.count++
}

// quantile is a duration that a part of all do not exceed.
func (h *histogram) quantile(part float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(part * float64(h.count)))
	for i, n := range h.buckets {
		if n >= rank {
			return time.Duration(math.Pow(bucketStep, float64(i+1)) * float64(time.Microsecond))
		}
		rank -= n
	}
	return 0
}
