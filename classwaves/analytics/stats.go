package analytics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are counts since New, which only rise, and two that are of now (Held, CacheDown).
type Metrics struct {
	// LegacyFallbacks is what Config.LegacyFallbacks says.
	LegacyFallbacks uint64 `json:"legacyFallbacks"`
	// Hits and Misses count reads of sessions, groups and dashboards in the cache, Fills the entries
	// that came of misses.
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Fills  uint64 `json:"fills"`
	// Updates counts acknowledged events, Batches the round trips that they took.
	Updates uint64 `json:"updates"`
	Batches uint64 `json:"batches"`
	// DatabaseReads and DatabaseUpdates count what the database did in the cache's place; Refused the
	// events that neither took.
	DatabaseReads   uint64 `json:"databaseReads"`
	DatabaseUpdates uint64 `json:"databaseUpdates"`
	Refused         uint64 `json:"refused"`
	// Conflicts counts writes of a row that had to be done again because another process had written it.
	Conflicts uint64 `json:"conflicts"`
	// Foreign counts entries of another format, which are taken for absent.
	Foreign uint64 `json:"foreign"`
	// PublishErrors counts changes of which the subscribers were not told.
	PublishErrors uint64 `json:"publishErrors"`
	// CacheOutages and SourceOutages count the times that a store became unavailable.
	CacheOutages  uint64 `json:"cacheOutages"`
	SourceOutages uint64 `json:"sourceOutages"`
	// Syncs counts runs of Sync, the others what all of them did.
	Syncs        uint64 `json:"syncs"`
	SyncWritten  uint64 `json:"syncWritten"`
	SyncRestored uint64 `json:"syncRestored"`
	SyncMissed   uint64 `json:"syncMissed"`
	// LastSync is when the last one ended, zero before the first.
	LastSync time.Time `json:"lastSync,omitzero"`
	// Held is how many sessions this process holds a part of, Unstored those of them of which the
	// database lacks something, Behind those of which the cache does.
	Held     int `json:"held"`
	Unstored int `json:"unstored"`
	Behind   int `json:"behind"`
}

type counters struct {
	hits, misses, fills, updates, batches   atomic.Uint64
	databaseReads, databaseUpdates, refused atomic.Uint64
	conflicts, foreign, publishErrors       atomic.Uint64
	cacheOutages, sourceOutages             atomic.Uint64
	syncs, written, restored, missed        atomic.Uint64
	lastSync                                atomic.Int64 // unix milliseconds
	sourceDown                              atomic.Bool
}

func (c *counters) synced(r SyncReport, now time.Time) {
	c.lastSync.Store(now.UnixMilli())
	c.syncs.Add(1)
	c.written.Add(uint64(r.Written))
	c.restored.Add(uint64(r.Restored))
	c.missed.Add(uint64(len(r.Missed)))
}

// Metrics gives a copy of the counts.
func (a *Analytics) Metrics() Metrics {
	c := &a.counters
	m := Metrics{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Fills: c.fills.Load(),
		Updates: c.updates.Load(), Batches: c.batches.Load(),
		DatabaseReads: c.databaseReads.Load(), DatabaseUpdates: c.databaseUpdates.Load(), Refused: c.refused.Load(),
		Conflicts: c.conflicts.Load(), Foreign: c.foreign.Load(), PublishErrors: c.publishErrors.Load(),
		CacheOutages: c.cacheOutages.Load(), SourceOutages: c.sourceOutages.Load(),
		Syncs: c.syncs.Load(), SyncWritten: c.written.Load(), SyncRestored: c.restored.Load(), SyncMissed: c.missed.Load(),
		LastSync: moment(c.lastSync.Load()),
	}
	if a.LegacyFallbacks != nil {
		m.LegacyFallbacks = a.LegacyFallbacks()
	}
	for _, h := range a.all() {
		m.Held++
		if h.unstored() {
			m.Unstored++
		}
		if h.behind() {
			m.Behind++
		}
	}
	return m
}

// Descriptions of the metrics; each is a field of [Metrics].
var (
	readsDesc   = describe("reads_total", "Reads of sessions, groups and dashboards by where the answer came from: cache, fill (database, then cached), database (the cache was unavailable).", "from")
	updatesDesc = describe("updates_total", "Acknowledged events by the store that took them first, and refused ones.", "result")
	batchesDesc = describe("update_batches_total", "Round trips that the acknowledged events took.")
	rowsDesc    = describe("row_conflicts_total", "Writes of a session's row that were done again because another process had written it.")
	foreignDesc = describe("foreign_entries_total", "Entries of another format, taken for absent.")
	publishDesc = describe("publish_errors_total", "Changes of which subscribers were not told.")
	outagesDesc = describe("outages_total", "Times that a store became unavailable.", "store")
	syncsDesc   = describe("syncs_total", "Syncs of the live sessions to the database.")
	syncedDesc  = describe("synced_sessions_total", "Sessions by what a sync did with them.", "result")
	lastDesc    = describe("last_sync_timestamp_seconds", "When the last sync ended.")
	heldDesc    = describe("held_sessions", "Sessions that this process holds a part of, and those of them of which a store lacks something.", "state")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("classwaves_analytics_"+name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (a *Analytics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, ch) }

// Collect implements [prometheus.Collector].
func (a *Analytics) Collect(ch chan<- prometheus.Metric) {
	m := a.Metrics()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count(readsDesc, m.Hits, "cache")
	count(readsDesc, m.Fills, "fill")
	count(readsDesc, m.DatabaseReads, "database")
	count(updatesDesc, m.Updates-min(m.Updates, m.DatabaseUpdates), "cache")
	count(updatesDesc, m.DatabaseUpdates, "database")
	count(updatesDesc, m.Refused, "refused")
	count(batchesDesc, m.Batches)
	count(rowsDesc, m.Conflicts)
	count(foreignDesc, m.Foreign)
	count(publishDesc, m.PublishErrors)
	count(outagesDesc, m.CacheOutages, "cache")
	count(outagesDesc, m.SourceOutages, "database")
	count(syncsDesc, m.Syncs)
	count(syncedDesc, m.SyncWritten, "written")
	count(syncedDesc, m.SyncRestored, "restored")
	count(syncedDesc, m.SyncMissed, "missed")
	gauge(lastDesc, float64(a.counters.lastSync.Load())/1000)
	gauge(heldDesc, float64(m.Held), "held")
	gauge(heldDesc, float64(m.Unstored), "unstored")
	gauge(heldDesc, float64(m.Behind), "behind")
}

var _ prometheus.Collector = (*Analytics)(nil)
