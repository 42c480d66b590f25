package rekeyprom

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey"
)

// Source has the counters: a *[rekey.Rekey].
type Source interface{ Stats() rekey.Stats }

var _ Source = (*rekey.Rekey)(nil)

// Collector is a [prometheus.Collector] over the counters of one instance. It is safe for concurrent
// use, also when the instance is closed.
type Collector struct{ source Source }

var _ prometheus.Collector = (*Collector)(nil)

// New makes a collector. A program with several instances registers each with labels of its own
// ([prometheus.WrapRegistererWith]).
func New(source Source) *Collector { return &Collector{source} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rekey_"+name, help, labels, nil)
}

// The metrics. Their rows in docs/metrics.md are compared with these by a test.
var (
	commands    = desc("commands_total", "Commands of the application on keys of the rule, by class.", "rule", "class")
	fallbacks   = desc("fallbacks_total", "Reads in dual and drain that found the value under the legacy name only; with strategy move, keys that were brought to the target name.", "rule")
	replays     = desc("replays_total", "Writes that were sent on both names.", "rule")
	recopies    = desc("recopies_total", "Writes after which the whole value was copied to the other name.", "rule")
	uncopied    = desc("uncopied_total", "Commands that were answered without what the phase adds, because the server refused that.", "rule")
	divergences = desc("divergences_total", "Writes on both names whose two replies differed. Must stay 0.", "rule")
	refusals    = desc("refused_total", "Commands that were answered with an error of rekey's own, by reason; rule is empty where none is known.", "rule", "reason")
	held        = desc("held_total", "Times that flags asked for a step whose gate had no verdict, and the rule stayed where it was.", "rule")
	ungated     = desc("ungated_total", "Times that flags asked for a step whose gate had no verdict, and it was made all the same.", "rule")
	phaseNow    = desc("phase", "The phase of the rule in this process, by number.", "rule", "strategy")
	phaseWanted = desc("phase_wanted", "The phase that the process is asked to be in, by number.", "rule", "strategy")
	phaseAcked  = desc("phase_acknowledged", "The phase that the process has told its fleet to be reached, by number: no command of an earlier one is under way.", "rule")
	leaseAge    = desc("lease_age_seconds", "How long ago the renewal of the process's lease in force was begun.")
	added       = desc("added_seconds", "How long rekey itself held up what passed a connection, of one in 16 writes and reads; what the server takes for the other name is not in it.")
	ruleAdded   = desc("command_added_seconds", "How long rekey itself held up a command on keys of the rule, together with its reply, of the commands in one of 16 writes, by class.", "rule", "class")
	connections = desc("connections", "Open connections through rekey.")
	keysCalls   = desc("keys_calls_total", "KEYS commands of the application. rekey sends none.")
)

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		commands, fallbacks, replays, recopies, uncopied, divergences, refusals, held, ungated,
		phaseNow, phaseWanted, phaseAcked, leaseAge, ruleAdded, connections, keysCalls,
	} {
		out <- d
	}
	if c.source.Stats().Added.Counts != nil { // a source may measure it elsewhere
		out <- added
	}
}

// Collect implements [prometheus.Collector]. All metrics of one scrape are of one copy of the counters.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	all := c.source.Stats()
	for _, rule := range slices.Sorted(maps.Keys(all.Rules)) {
		s := all.Rules[rule]
		for class, n := range s.Commands {
			count(commands, n, rule, class)
		}
		for class, h := range s.Added {
			out <- histogram(ruleAdded, h, rule, class)
		}
		for reason, n := range s.RefusedFor {
			count(refusals, n, rule, reason)
		}
		count(fallbacks, s.Fallbacks, rule)
		count(replays, s.Replays, rule)
		count(recopies, s.Recopies, rule)
		count(uncopied, s.Uncopied, rule)
		count(divergences, s.Divergences, rule)
		count(held, s.Held, rule)
		count(ungated, s.Ungated, rule)
		gauge(phaseNow, float64(s.Phase), rule, s.Strategy.String())
		gauge(phaseWanted, float64(s.Wanted), rule, s.Strategy.String())
		if s.Acknowledged != 0 { // in a fleet
			gauge(phaseAcked, float64(s.Acknowledged), rule)
		}
	}
	for reason, n := range all.RefusedFor {
		count(refusals, n, "", reason)
	}
	if all.LeaseAge > 0 {
		gauge(leaseAge, all.LeaseAge.Seconds())
	}
	if all.Added.Counts != nil {
		out <- histogram(added, all.Added)
	}
	gauge(connections, float64(all.Conns))
	count(keysCalls, all.KeysCalls)
}

// histogram makes a metric of counts by bucket: there a bucket holds those before it as well.
func histogram(d *prometheus.Desc, h rekey.Histogram, labels ...string) prometheus.Metric {
	buckets, count := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, n := range h.Counts {
		count += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, h.Sum.Seconds(), buckets, labels...)
}
