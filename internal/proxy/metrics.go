package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey/internal/command"
)

// direction is whose bytes are passed on.
type direction uint8

const (
	toServer direction = iota
	toClient
	directions
)

var directionNames = [directions]string{"request", "reply"}

// rejection is why a client was turned away.
type rejection uint8

const (
	rejectedFull rejection = iota
	rejectedDraining
	rejections
)

var rejectionNames = [rejections]string{"full", "draining"}

const classes = int(command.ClassSession) + 1

// metrics are counters of clients that have left; those that are there have their own.
type metrics struct {
	accepted atomic.Uint64
	rejected [rejections]atomic.Uint64
	ended    [endings]atomic.Uint64
	bytes    [directions]atomic.Int64
	commands [classes]atomic.Uint64
	delay    [directions]prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{}
	for d := range directions {
		m.delay[d] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekey_added_seconds", Help: addedHelp,
			ConstLabels: prometheus.Labels{"direction": directionNames[d]},
			Buckets:     prometheus.ExponentialBuckets(4e-6, 2, 18), // 4 µs to 0.5 s
		})
	}
	return m
}

// added takes the time that bytes spent here.
func (m *metrics) added(d direction, spent time.Duration) { m.delay[d].Observe(spent.Seconds()) }

// left adds what a client that has left counted.
func (m *metrics) left(c *client) {
	m.ended[ending(c.ending.Load())%endings].Add(1)
	m.bytes[toServer].Add(c.in.Load())
	m.bytes[toClient].Add(c.out.Load())
	if up := c.upstream(); up != nil {
		for class, n := range up.Classes() {
			m.commands[class].Add(n)
		}
	}
}

// tally is how many commands of each class a client has sent, as was seen last: nobody may look at its session while that
// goes from one place to another.
type tally struct {
	mu sync.Mutex
	n  [classes]uint64
}

// seen notes counts, of which some may be older than others, and gives the newest.
func (t *tally) seen(n [classes]uint64) [classes]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for class := range n {
		t.n[class] = max(t.n[class], n[class])
	}
	return t.n
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rekey_proxy_"+name, help, labels, nil)
}

const addedHelp = "How long bytes that came were in the proxy's own hands, by direction: until the other side's kernel had them, or until they were joined with other clients' for one write to the server."

// The metrics. Their rows in docs/metrics.md are compared with these by a test.
var (
	descClients  = desc("clients", "Clients that are connected.")
	descAccepted = desc("accepted_total", "Clients that came.")
	descRejected = desc("rejected_total", "Clients that were turned away, by reason.", "reason")
	descEnded    = desc("ended_total", "Clients that have left, by reason.", "reason")
	descBytes    = desc("bytes_total", "Bytes of clients, by direction.", "direction")
	descCommands = desc("commands_total", "Commands of clients, with and without a rule, by class.", "class")
	descMemory   = desc("memory_bytes", "Bytes of clients' buffers that count towards the limit of all together.")
)

var _ prometheus.Collector = (*Proxy)(nil)

// Describe implements [prometheus.Collector].
func (p *Proxy) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descClients, descAccepted, descRejected, descEnded, descBytes, descCommands, descMemory} {
		out <- d
	}
	for _, h := range p.metrics.delay {
		h.Describe(out)
	}
}

// Collect implements [prometheus.Collector].
func (p *Proxy) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, labels...)
	}
	var bytes [directions]int64
	var commands [classes]uint64
	m := p.metrics
	p.mu.Lock() // nobody leaves between the two sums
	clients := len(p.clients)
	for d := range bytes {
		bytes[d] = m.bytes[d].Load()
	}
	for class := range commands {
		commands[class] = m.commands[class].Load()
	}
	for c := range p.clients {
		bytes[toServer] += c.in.Load()
		bytes[toClient] += c.out.Load()
		if up := c.upstream(); up != nil {
			for class, n := range up.Classes() {
				commands[class] += n
			}
		}
	}
	p.mu.Unlock()
	out <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(clients))
	out <- prometheus.MustNewConstMetric(descMemory, prometheus.GaugeValue, float64(p.memory.Load()))
	count(descAccepted, float64(m.accepted.Load()))
	for r := range rejections {
		count(descRejected, float64(m.rejected[r].Load()), rejectionNames[r])
	}
	for e := endClient; e < endings; e++ {
		count(descEnded, float64(m.ended[e].Load()), e.String())
	}
	for d := range directions {
		count(descBytes, float64(bytes[d]), directionNames[d])
	}
	for class, n := range commands {
		count(descCommands, float64(n), command.Class(class).String())
	}
	for _, h := range m.delay {
		h.Collect(out)
	}
}
