package live

import (
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are counts since New, which only rise, and two that are of now (Connections, Sessions).
type Metrics struct {
	// Connections is how many there are, Sessions in how many rooms.
	Connections int `json:"connections"`
	Sessions    int `json:"sessions"`
	// Accepted and Refused count requests; Slow, Flooded and Dead the connections that were ended because they
	// read too slowly, sent too much, or did not answer.
	Accepted uint64 `json:"accepted"`
	Refused  uint64 `json:"refused"`
	Slow     uint64 `json:"slow"`
	Flooded  uint64 `json:"flooded"`
	Dead     uint64 `json:"dead"`
	// Published and Unpublished count events of this process, Heard those of all processes that came in,
	// Delivered the messages that were written to clients, Received those that came from them.
	Published   uint64 `json:"published"`
	Unpublished uint64 `json:"unpublished"`
	Heard       uint64 `json:"heard"`
	Delivered   uint64 `json:"delivered"`
	Received    uint64 `json:"received"`
	// Lost and Resubscribed count the subscription's ends and returns.
	Lost         uint64 `json:"lost"`
	Resubscribed uint64 `json:"resubscribed"`
}

type counters struct {
	accepted, refused, slow, flooded, dead             atomic.Uint64
	published, unpublished, heard, delivered, received atomic.Uint64
	lost, resubscribed                                 atomic.Uint64
	ended                                              [3]atomic.Uint64 // by the client or the network, by policy, going away
}

// closed counts an end.
func (c *counters) closed(status websocket.StatusCode) {
	switch status {
	case 0:
		c.ended[0].Add(1)
	case goingAway:
		c.ended[2].Add(1)
	default:
		c.ended[1].Add(1)
	}
}

// Metrics gives a copy of the counts.
func (h *Hub) Metrics() Metrics {
	h.mu.Lock()
	connections, sessions := h.total, len(h.rooms)
	h.mu.Unlock()
	c := &h.counters
	return Metrics{
		Connections: connections, Sessions: sessions,
		Accepted: c.accepted.Load(), Refused: c.refused.Load(),
		Slow: c.slow.Load(), Flooded: c.flooded.Load(), Dead: c.dead.Load(),
		Published: c.published.Load(), Unpublished: c.unpublished.Load(), Heard: c.heard.Load(),
		Delivered: c.delivered.Load(), Received: c.received.Load(),
		Lost: c.lost.Load(), Resubscribed: c.resubscribed.Load(),
	}
}

var (
	connectionsDesc = describe("connections", "Open WebSocket connections.")
	sessionsDesc    = describe("sessions", "Class sessions with an open connection.")
	requestsDesc    = describe("requests_total", "Requests for a connection.", "result")
	endedDesc       = describe("ended_total", "Connections that ended, by whose wish: client (or its network), policy, shutdown.", "by")
	cutDesc         = describe("cut_total", "Connections that the hub ended.", "reason")
	eventsDesc      = describe("events_total", "Events by what happened: published, unpublished (Redis was unavailable), heard, delivered (each connection counts).", "step")
	messagesDesc    = describe("messages_total", "Messages of clients.")
	lostDesc        = describe("subscription_lost_total", "Times that the subscription was lost.")
	backDesc        = describe("subscription_back_total", "Times that the subscription came back.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("classwaves_live_"+name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (h *Hub) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(h, ch) }

// Collect implements [prometheus.Collector].
func (h *Hub) Collect(ch chan<- prometheus.Metric) {
	m := h.Metrics()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(m.Connections))
	ch <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(m.Sessions))
	count(requestsDesc, m.Accepted, "accepted")
	count(requestsDesc, m.Refused, "refused")
	for i, by := range []string{"client", "policy", "shutdown"} {
		count(endedDesc, h.counters.ended[i].Load(), by)
	}
	count(cutDesc, m.Slow, "slow")
	count(cutDesc, m.Flooded, "flooded")
	count(cutDesc, m.Dead, "dead")
	count(eventsDesc, m.Published, "published")
	count(eventsDesc, m.Unpublished, "unpublished")
	count(eventsDesc, m.Heard, "heard")
	count(eventsDesc, m.Delivered, "delivered")
	count(messagesDesc, m.Received)
	count(lostDesc, m.Lost)
	count(backDesc, m.Resubscribed)
}

var _ prometheus.Collector = (*Hub)(nil)
