package ratelimit

import "github.com/prometheus/client_golang/prometheus"

// metrics are the limiter's own counts; those of outages come from the outage itself.
type metrics struct {
	decisions *prometheus.CounterVec
}

func newMetrics() metrics {
	return metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "classwaves_ratelimit_decisions_total",
		Help: "Hits, by limit, by result (allowed, refused) and by who decided (redis, insurance).",
	}, []string{"limit", "result", "by"})}
}

func (m metrics) decided(l Limit, d Decision) {
	result, by := "refused", "redis"
	if d.Allowed {
		result = "allowed"
	}
	if d.Insured {
		by = "insurance"
	}
	m.decisions.WithLabelValues(l.Name, result, by).Inc()
}

var (
	switchesDesc = prometheus.NewDesc("classwaves_ratelimit_switches_total",
		"Switches between Redis and the insurance of this process, by where to.", []string{"to"}, nil)
	failuresDesc = prometheus.NewDesc("classwaves_ratelimit_redis_failures_total",
		"Hits that Redis did not count.", nil, nil)
	insuredDesc = prometheus.NewDesc("classwaves_ratelimit_insured",
		"1 while this process decides alone.", nil, nil)
	subjectsDesc = prometheus.NewDesc("classwaves_ratelimit_insured_subjects",
		"Subjects that the insurance of this process knows.", nil, nil)
)

// Describe implements prometheus.Collector.
func (l *Limiter) Describe(to chan<- *prometheus.Desc) {
	l.metrics.decisions.Describe(to)
	to <- switchesDesc
	to <- failuresDesc
	to <- insuredDesc
	to <- subjectsDesc
}

// Collect implements prometheus.Collector.
func (l *Limiter) Collect(to chan<- prometheus.Metric) {
	l.metrics.decisions.Collect(to)
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(switchesDesc, l.outage.Begun(), "insurance")
	counter(switchesDesc, l.outage.Ended(), "redis")
	counter(failuresDesc, l.outage.Failures())
	insured := 0.0
	if l.outage.Out() {
		insured = 1
	}
	to <- prometheus.MustNewConstMetric(insuredDesc, prometheus.GaugeValue, insured)
	to <- prometheus.MustNewConstMetric(subjectsDesc, prometheus.GaugeValue, float64(l.insurance.len()))
}

var _ prometheus.Collector = (*Limiter)(nil)
