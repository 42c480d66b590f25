package querycache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is what a cache did since it was made.
type Metrics struct {
	// LegacyFallbacks counts reads that found an entry under its legacy name only: rekey's own count.
	LegacyFallbacks uint64 `json:"legacyFallbacks"`
	// Unavailable counts operations that Redis did not answer.
	Unavailable uint64 `json:"unavailable"`
	// Invalidations counts scopes that were invalidated, InvalidationsFailed those that were not.
	Invalidations       uint64 `json:"invalidations"`
	InvalidationsFailed uint64 `json:"invalidationsFailed"`
	// Types has the counters of each type by its name, once it was used.
	Types map[string]TypeMetrics `json:"types"`
}

// TypeMetrics is what happened to one type of query.
type TypeMetrics struct {
	// Hits and Misses count Gets and Lookups by what they found at first.
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	// HitRate is Hits among both, 0 to 1; 0 without any.
	HitRate float64 `json:"hitRate"`
	// MeanRetrievalMS is how long a Get or Lookup took on average until its answer, its loader or its
	// waiting included, in milliseconds.
	MeanRetrievalMS float64 `json:"meanRetrievalMs"`
	// Coalesced counts Gets that were given what another one, of this process or another, loaded.
	Coalesced uint64 `json:"coalesced"`
	// RefreshAhead counts loads in the background.
	RefreshAhead uint64 `json:"refreshAhead"`
	// StaleServed counts Gets that were given an expired entry because the loader failed.
	StaleServed uint64 `json:"staleServed"`
	// Loads counts runs of loaders, LoadErrors those that failed.
	Loads      uint64 `json:"loads"`
	LoadErrors uint64 `json:"loadErrors"`
	// Fills counts results that were kept. FillsRefused counts those that were not because the lock
	// had gone to somebody else: an invalidation, an upsert, or a process that waited too long.
	Fills        uint64 `json:"fills"`
	FillsRefused uint64 `json:"fillsRefused"`
	// TooLarge counts results that were not kept because of Config.MaxValue.
	TooLarge uint64 `json:"tooLarge"`
	// Corrupt counts entries that could not be read and were misses.
	Corrupt uint64 `json:"corrupt"`
}

// metrics counts. Types come into being as they are used.
type metrics struct {
	types                            sync.Map // name to *counts
	invalidated, invalidationsFailed atomic.Uint64
	seconds                          *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "classwaves_query_cache_get_seconds",
		Help:    "Time until a cached query was answered, by what was found at first.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9), // 0.1 ms to 6.5 s
	}, []string{"type", "result"})}
}

// counts are the counters of one type.
type counts struct {
	hits, misses, nanos                    atomic.Uint64
	coalesced, refreshAhead, staleServed   atomic.Uint64
	loads, loadErrors                      atomic.Uint64
	fills, fillsRefused, tooLarge, corrupt atomic.Uint64
	hitSeconds, missSeconds                prometheus.Observer
}

func (m *metrics) of(t Type) *counts {
	if c, ok := m.types.Load(t.Name); ok {
		return c.(*counts)
	}
	c, _ := m.types.LoadOrStore(t.Name, &counts{
		hitSeconds:  m.seconds.WithLabelValues(t.Name, "hit"),
		missSeconds: m.seconds.WithLabelValues(t.Name, "miss"),
	})
	return c.(*counts)
}

// retrieved counts a Get or Lookup that began at start, on the real clock.
func (c *counts) retrieved(hit bool, start time.Time) {
	took := time.Since(start)
	c.nanos.Add(uint64(took))
	if hit {
		c.hits.Add(1)
		c.hitSeconds.Observe(took.Seconds())
		return
	}
	c.misses.Add(1)
	c.missSeconds.Observe(took.Seconds())
}

func (c *counts) metrics() TypeMetrics {
	t := TypeMetrics{
		Hits: c.hits.Load(), Misses: c.misses.Load(),
		Coalesced: c.coalesced.Load(), RefreshAhead: c.refreshAhead.Load(), StaleServed: c.staleServed.Load(),
		Loads: c.loads.Load(), LoadErrors: c.loadErrors.Load(),
		Fills: c.fills.Load(), FillsRefused: c.fillsRefused.Load(), TooLarge: c.tooLarge.Load(), Corrupt: c.corrupt.Load(),
	}
	if n := float64(t.Hits + t.Misses); n > 0 {
		t.HitRate = float64(t.Hits) / n
		t.MeanRetrievalMS = float64(c.nanos.Load()) / n / float64(time.Millisecond)
	}
	return t
}

// CacheMetrics returns a copy of the counters.
func (c *Cache) CacheMetrics() Metrics {
	m := Metrics{
		LegacyFallbacks:     c.cfg.LegacyFallbacks(),
		Unavailable:         c.outage.seen.Load(),
		Invalidations:       c.metrics.invalidated.Load(),
		InvalidationsFailed: c.metrics.invalidationsFailed.Load(),
		Types:               make(map[string]TypeMetrics),
	}
	c.metrics.types.Range(func(name, of any) bool {
		m.Types[name.(string)] = of.(*counts).metrics()
		return true
	})
	return m
}
