package app

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/rekeyprom"
)

// rulesOf is which rules of the plan hold a service's keys.
var rulesOf = map[string][]string{
	"access_codes": {"session_codes", "access_codes"},
	"analytics":    {"session_analytics", "group_analytics", "dashboards"},
	"csrf":         {"csrf", "csrf_previous"},
	"query_cache":  {"query_cache", "query_cache_locks", "tag_versions"},
	"rate_limiter": {"rate_limits"},
	"sessions":     {"secure_sessions", "teacher_sessions"},
}

// fallbacks sums the reads of a service that found a value under its legacy name only.
func fallbacks(s rekey.Stats, service string) uint64 {
	var n uint64
	for _, rule := range rulesOf[service] {
		n += s.Rules[rule].Fallbacks
	}
	return n
}

// fallbackMetrics exports the sums.
type fallbackMetrics struct {
	stats func() rekey.Stats
	desc  *prometheus.Desc
}

func newFallbackMetrics(stats func() rekey.Stats) *fallbackMetrics {
	return &fallbackMetrics{stats, prometheus.NewDesc("classwaves_legacy_fallbacks_total",
		"Reads that found a value under its legacy name only, by service. It stands still before legacy reads are turned off.",
		[]string{"service"}, nil)}
}

func (f *fallbackMetrics) Describe(to chan<- *prometheus.Desc) { to <- f.desc }

func (f *fallbackMetrics) Collect(to chan<- prometheus.Metric) {
	s := f.stats()
	for _, service := range slices.Sorted(maps.Keys(rulesOf)) {
		to <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(fallbacks(s, service)), service)
	}
}

// registry is every metric of the process.
func registry(r *rekey.Rekey, services ...prometheus.Collector) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		rekeyprom.New(r), newFallbackMetrics(r.Stats),
	}, services...)
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return reg, nil
}

// gatherer stands for a registry that is not there yet.
type gatherer struct{ prometheus.Gatherer }

// CacheMetrics is what GET /metrics/cache shows: the seed's getCacheMetrics of both services that have
// one, and the fallbacks of all.
type CacheMetrics struct {
	LegacyFallbacks map[string]uint64  `json:"legacyFallbacks"` // by service
	QueryCache      querycache.Metrics `json:"queryCache"`
	Analytics       analytics.Metrics  `json:"analytics"`
	// Phases is the phase of each rule in this process.
	Phases map[string]string `json:"phases"`
}
