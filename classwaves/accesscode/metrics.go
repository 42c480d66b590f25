package accesscode

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	resolved                      *prometheus.CounterVec
	created, collisions, repaired prometheus.Counter
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "classwaves_accesscode_" + name, Help: help})
	}
	return metrics{
		resolved: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "classwaves_accesscode_resolved_total",
			Help: "Codes that were looked up, by who answered (redis, directory) and result (found, absent, unavailable).",
		}, []string{"by", "result"}),
		created:    counter("created_total", "Codes given out."),
		collisions: counter("collisions_total", "Codes drawn that another session had."),
		repaired:   counter("repaired_total", "Pairs of keys written anew by what the database says."),
	}
}

func (m metrics) resolvedBy(by string, found bool, err error) {
	result := "absent"
	switch {
	case err != nil:
		result = "unavailable"
	case found:
		result = "found"
	}
	m.resolved.WithLabelValues(by, result).Inc()
}

var (
	outagesDesc = prometheus.NewDesc("classwaves_accesscode_redis_outages_total",
		"Times that Redis became unavailable and the database answered.", nil, nil)
	failuresDesc = prometheus.NewDesc("classwaves_accesscode_redis_failures_total",
		"Commands that Redis did not answer.", nil, nil)
)

func (c *Codes) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.metrics.resolved, c.metrics.created, c.metrics.collisions, c.metrics.repaired}
}

// Describe implements prometheus.Collector.
func (c *Codes) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.collectors() {
		m.Describe(to)
	}
	to <- outagesDesc
	to <- failuresDesc
}

// Collect implements prometheus.Collector.
func (c *Codes) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.collectors() {
		m.Collect(to)
	}
	to <- prometheus.MustNewConstMetric(outagesDesc, prometheus.CounterValue, float64(c.outage.Begun()))
	to <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(c.outage.Failures()))
}

var _ prometheus.Collector = (*Codes)(nil)
