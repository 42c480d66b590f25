package querycache

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Cache)(nil)

// series is a counter by type and where its value is.
type series struct {
	desc  *prometheus.Desc
	value func(TypeMetrics) uint64
}

func counter(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("classwaves_query_cache_"+name, help, labels, nil)
}

// byType is every counter that has a type as its label.
var byType = []series{
	{counter("hits_total", "Reads that found a usable result.", "type"), func(t TypeMetrics) uint64 { return t.Hits }},
	{counter("misses_total", "Reads that found no usable result.", "type"), func(t TypeMetrics) uint64 { return t.Misses }},
	{counter("coalesced_total", "Reads that were given what another one loaded.", "type"), func(t TypeMetrics) uint64 { return t.Coalesced }},
	{counter("refresh_ahead_total", "Loads in the background, of results that were about to end.", "type"), func(t TypeMetrics) uint64 { return t.RefreshAhead }},
	{counter("stale_served_total", "Reads that were given an expired result because the loader failed.", "type"), func(t TypeMetrics) uint64 { return t.StaleServed }},
	{counter("loads_total", "Runs of loaders.", "type"), func(t TypeMetrics) uint64 { return t.Loads }},
	{counter("load_errors_total", "Runs of loaders that failed.", "type"), func(t TypeMetrics) uint64 { return t.LoadErrors }},
	{counter("fills_total", "Results that were kept.", "type"), func(t TypeMetrics) uint64 { return t.Fills }},
	{counter("fills_refused_total", "Results that were not kept because the lock had gone to somebody else.", "type"), func(t TypeMetrics) uint64 { return t.FillsRefused }},
	{counter("too_large_total", "Results that were not kept because of their size.", "type"), func(t TypeMetrics) uint64 { return t.TooLarge }},
	{counter("corrupt_total", "Entries that could not be read.", "type"), func(t TypeMetrics) uint64 { return t.Corrupt }},
}

var (
	unavailableDesc   = counter("unavailable_total", "Operations that Redis did not answer.")
	invalidationsDesc = counter("invalidations_total", "Scopes to invalidate, by outcome.", "result")
)

// Describe implements [prometheus.Collector].
func (c *Cache) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range byType {
		ch <- s.desc
	}
	ch <- unavailableDesc
	ch <- invalidationsDesc
	c.metrics.seconds.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (c *Cache) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	m := c.CacheMetrics()
	for name, t := range m.Types {
		for _, s := range byType {
			count(s.desc, s.value(t), name)
		}
	}
	count(unavailableDesc, m.Unavailable)
	count(invalidationsDesc, m.Invalidations, "done")
	count(invalidationsDesc, m.InvalidationsFailed, "failed")
	c.metrics.seconds.Collect(ch)
}
