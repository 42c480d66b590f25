package demo

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are 1/32 of their size wide, so that a quantile is
// right to 3 percent. The zero value is empty.
type histogram struct {
	buckets [32 * 40]uint32
	total   int64
}

// bucketOf: below 64 ns each nanosecond is a bucket; above, each power of two has 32.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	shift := max(bits.Len64(n)-6, 0)
	return min(32*shift+int(n>>shift), 32*40-1)
}

// valueOf is the lowest duration of a bucket.
func valueOf(bucket int) time.Duration {
	if bucket < 64 {
		return time.Duration(bucket)
	}
	shift := bucket/32 - 1
	return time.Duration(bucket-32*shift) << shift
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.total += other.total
}

// quantile is the duration that a part of all do not exceed; 0 of none.
func (h *histogram) quantile(part float64) time.Duration {
	left := int64(part * float64(h.total))
	for i, n := range h.buckets {
		if left -= int64(n); n > 0 && left < 0 {
			return valueOf(i)
		}
	}
	return 0
}
