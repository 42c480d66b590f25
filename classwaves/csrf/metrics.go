package csrf

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	checks   *prometheus.CounterVec
	failures prometheus.Counter
}

func newMetrics() *metrics {
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "classwaves_csrf_checks_total",
		Help: "Tokens that unsafe requests carried: ok, previous (the one before, in its grace period), invalid, missing, unavailable; unchecked are the unavailable ones of logouts that passed.",
	}, []string{"result"})
	for _, result := range []string{"ok", "previous", "invalid", "missing", "unavailable", "unchecked"} {
		checks.WithLabelValues(result) // shown from the start, as zero
	}
	return &metrics{checks: checks, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "classwaves_csrf_redis_failures_total",
		Help: "Tokens that Redis did not give, compare or remove.",
	})}
}

func (m *metrics) count(result string) { m.checks.WithLabelValues(result).Inc() }

func (m *metrics) checked(isNow, isBefore bool) {
	switch {
	case isNow:
		m.count("ok")
	case isBefore:
		m.count("previous")
	default:
		m.count("invalid")
	}
}

// Describe implements prometheus.Collector.
func (t *Tokens) Describe(out chan<- *prometheus.Desc) {
	t.metrics.checks.Describe(out)
	t.metrics.failures.Describe(out)
}

// Collect implements prometheus.Collector.
func (t *Tokens) Collect(out chan<- prometheus.Metric) {
	t.metrics.checks.Collect(out)
	t.metrics.failures.Collect(out)
}

var _ prometheus.Collector = (*Tokens)(nil)
