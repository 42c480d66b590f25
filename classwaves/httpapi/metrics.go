package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// requestMetrics counts requests by route, never by path.
type requestMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "classwaves_http_requests_total",
			Help: "Requests by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "classwaves_http_request_seconds",
			Help:    "Time of a request by route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"route"}),
	}
}

func (m *requestMetrics) observe(route, method string, status int, took time.Duration) {
	if method != http.MethodGet && method != http.MethodPost && method != http.MethodHead {
		method = "other" // a client could invent any number of them
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *requestMetrics) Describe(to chan<- *prometheus.Desc) {
	m.requests.Describe(to)
	m.seconds.Describe(to)
}

func (m *requestMetrics) Collect(to chan<- prometheus.Metric) {
	m.requests.Collect(to)
	m.seconds.Collect(to)
}

func (a *API) showMetrics(w http.ResponseWriter, r *http.Request) error {
	if a.c.Metrics == nil {
		return errNotFound
	}
	promhttp.HandlerFor(a.c.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

func (a *API) cacheMetrics(w http.ResponseWriter, _ *http.Request) error {
	if a.c.CacheMetrics == nil {
		return errNotFound
	}
	write(w, http.StatusOK, a.c.CacheMetrics())
	return nil
}
