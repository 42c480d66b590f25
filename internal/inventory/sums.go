package inventory

import (
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"
)

// sums is what is known of the keys of one shape.
type sums struct {
	names     int64
	described int64 // of these, those that were asked about and were there
	refused   int64 // asked about, and the user may not read them
	types     map[string]int64
	bytes     moments
	largest   int64
	forever   int64 // without a time to live
	ttl, idle spread
	lives     lives
	cover     map[Cover]int64
	example   string
}

// merge adds the sums of a shape that turned out to be the same.
func merge(into, from *sums) {
	into.names += from.names
	into.described += from.described
	into.refused += from.refused
	into.types = added(into.types, from.types)
	into.bytes.n += from.bytes.n
	into.bytes.sum += from.bytes.sum
	into.bytes.squares += from.bytes.squares
	into.largest = max(into.largest, from.largest)
	into.forever += from.forever
	into.ttl.merge(&from.ttl)
	into.lives.merge(&from.lives)
	into.idle.merge(&from.idle)
	into.cover = added(into.cover, from.cover)
	if into.example == "" {
		into.example = from.example
	}
}

func added[K comparable](into, from map[K]int64) map[K]int64 {
	if into == nil {
		return maps.Clone(from)
	}
	for k, n := range from {
		into[k] += n
	}
	return into
}

func bump[K comparable](m *map[K]int64, k K) {
	if *m == nil {
		*m = make(map[K]int64, 1)
	}
	(*m)[k]++
}

// Lives are the borders between which times to live are counted. The last count is of what is above all of them.
var Lives = [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// lives counts keys by their time to live. Its zero value is of no keys.
type lives [len(Lives) + 1]int64

// add counts a key that lives for so many milliseconds, which may be more than a duration holds.
func (l *lives) add(ttl int64) {
	i, _ := slices.BinarySearch(Lives[:], milliseconds(ttl))
	l[i]++
}

func (l *lives) merge(from *lives) {
	for i, n := range from {
		l[i] += n
	}
}

// milliseconds are a duration, the longest there is where they are more.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// moments are the sums that a mean and its error come from.
type moments struct {
	n            int64
	sum, squares float64
}

func (m *moments) add(v int64) {
	m.n++
	m.sum += float64(v)
	m.squares += float64(v) * float64(v)
}

// total scales the sample to so many values, and says how far it may be off in 95 of 100 cases. One value says nothing of
// how far others are from it: then the error is as large as the sum.
func (m *moments) total(of int64) (sum, err int64) {
	if m.n == 0 {
		return 0, 0
	}
	n, all := float64(m.n), float64(of)
	sum = int64(m.sum / n * all)
	if m.n == 1 && of > 1 {
		return sum, sum
	}
	variance := max(0, m.squares-m.sum/n*m.sum) / max(1, n-1)
	left := max(0, 1-n/all)
	return sum, int64(2 * all * math.Sqrt(variance/n*left))
}

// steps is how many buckets of a spread a doubling has: a value is known within a fifth.
const steps = 2

// spread is how values are spread, in buckets that grow by the square root of two. Its zero value is of no values.
type spread struct {
	n, min, max int64
	buckets     *[64 * steps]uint32
}

func (s *spread) add(v int64) {
	v = max(0, v)
	if s.buckets == nil {
		s.buckets, s.min = new([64 * steps]uint32), v
	}
	s.n++
	s.min, s.max = min(s.min, v), max(s.max, v)
	s.buckets[bucket(v)]++
}

// bucket is 2b or 2b+1 for values of b bits, by the half that they are in.
func bucket(v int64) int {
	b := bits.Len64(uint64(v))
	if b >= 2 && v&(1<<(b-2)) != 0 {
		return b*steps + 1
	}
	return b * steps
}

// middle is a value of a bucket that is within a fifth of all others there.
func middle(i int) int64 {
	b := i / steps
	if b < 2 {
		return int64(b)
	}
	low := int64(1) << (b - 1)
	if i%steps == 1 {
		return low + low/2 + low/4
	}
	return low + low/5
}

func (s *spread) merge(from *spread) {
	if from.buckets == nil {
		return
	}
	if s.buckets == nil {
		b := *from.buckets
		s.n, s.min, s.max, s.buckets = from.n, from.min, from.max, &b
		return
	}
	s.n += from.n
	s.min, s.max = min(s.min, from.min), max(s.max, from.max)
	for i, n := range from.buckets {
		s.buckets[i] += n
	}
}

// median is within a fifth of the value that half of the others are below.
func (s *spread) median() int64 {
	var below int64
	for i := range 64 * steps {
		if s.buckets == nil {
			break
		}
		if below += int64(s.buckets[i]); below*2 >= s.n {
			return min(max(middle(i), s.min), s.max)
		}
	}
	return 0
}
