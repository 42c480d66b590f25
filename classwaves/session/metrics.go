package session

import "github.com/prometheus/client_golang/prometheus"

// metrics are the counters of one Sessions.
type metrics struct {
	integrity *prometheus.CounterVec // by reason
	refused   *prometheus.CounterVec // by reason
	database  *prometheus.CounterVec // by step
	settled   *prometheus.CounterVec // by kind
	displaced prometheus.Counter
}

func newMetrics() *metrics {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value) // shown from the start, as zero
		}
		return v
	}
	return &metrics{
		integrity: vec("classwaves_session_integrity_failures_total",
			"Stored sessions that did not open: format (the old release's), key (not in the ring), tampered (changed or moved), content, type (no string).",
			"reason", "format", "key", "tampered", "content", "type"),
		refused: vec("classwaves_session_refused_total",
			"Requests with a session that was refused: idle, absolute, revoked (found ended in the database), fingerprint.",
			"reason", "idle", "absolute", "revoked", "fingerprint"),
		database: vec("classwaves_session_fallbacks_total",
			"Steps that went on without the cache: authenticate, login, logout, refresh.",
			"step", "authenticate", "login", "logout", "refresh"),
		settled: vec("classwaves_session_settled_total",
			"What the cache had missed and was told: put, clear, refill (all of it, for a server that was started again).",
			"kind", "put", "clear", "refill"),
		displaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "classwaves_session_displaced_total", Help: "Sessions ended by a login beyond the limit.",
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.integrity, m.refused, m.database, m.settled, m.displaced}
}

var suspectDesc = prometheus.NewDesc("classwaves_session_suspect",
	"1 while the database is asked about every session.", nil, nil)

// Describe implements prometheus.Collector.
func (s *Sessions) Describe(out chan<- *prometheus.Desc) {
	for _, c := range s.metrics.all() {
		c.Describe(out)
	}
	out <- suspectDesc
}

// Collect implements prometheus.Collector.
func (s *Sessions) Collect(out chan<- prometheus.Metric) {
	for _, c := range s.metrics.all() {
		c.Collect(out)
	}
	value := 0.0
	if s.Suspect() {
		value = 1
	}
	out <- prometheus.MustNewConstMetric(suspectDesc, prometheus.GaugeValue, value)
}

var _ prometheus.Collector = (*Sessions)(nil)

// Suspect says whether this process asks the database about every session: since it started, or since
// Redis failed, and until Run has told Redis all that it missed.
func (s *Sessions) Suspect() bool {
	suspect, _ := s.health.state()
	return suspect
}
