package rekeyprom_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/rekeyprom"
)

// row is a line of the table in docs/metrics.md.
type row struct{ name, kind, labels, help string }

func (r row) String() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", r.name, r.kind, r.labels, r.help)
}

var rowOf = regexp.MustCompile("^\\| `([a-z_]+)` \\| (\\w+) \\| ([a-z_, ]*?) ?\\| (.*) \\|$")

// documented are the rows of the metrics with a prefix.
func documented(t *testing.T, prefix string) []row {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(text)) {
		if m := rowOf.FindStringSubmatch(strings.TrimSpace(line)); m != nil && strings.HasPrefix(m[1], prefix) {
			rows = append(rows, row{m[1], m[2], m[3], m[4]})
		}
	}
	return rows
}

// exported are the rows that a collector's own metrics would have.
func exported(t *testing.T, c prometheus.Collector) []row {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		rows = append(rows, row{f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp()})
	}
	return rows
}

// inFleet is a source as it is in a fleet, on which a command was measured.
type inFleet struct{ rekeyprom.Source }

func (f inFleet) Stats() rekey.Stats {
	s := f.Source.Stats()
	s.LeaseAge = time.Second
	for name, rule := range s.Rules {
		rule.Acknowledged = rule.Phase
		rule.Added = map[string]rekey.Histogram{"read": s.Added}
		s.Rules[name] = rule
	}
	return s
}

// The table of docs/metrics.md is what the collector exports, and what it exports is what it describes.
func TestDocumentedMetrics(t *testing.T) {
	c := rekeyprom.New(inFleet{busy(t)})
	want, got := exported(t, c), documented(t, "rekey_")
	for _, r := range want {
		if !slices.Contains(got, r) {
			t.Errorf("docs/metrics.md lacks\n%v", r)
		}
	}
	for _, r := range got {
		if !slices.Contains(want, r) {
			t.Errorf("docs/metrics.md has, and nothing exports\n%v", r)
		}
	}
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	if len(descs) != len(want) {
		t.Errorf("%d metrics described, %d exported", len(descs), len(want))
	}
	for d := range descs {
		if !slices.ContainsFunc(want, func(r row) bool { return strings.Contains(d.String(), fmt.Sprintf("%q", r.name)) }) {
			t.Errorf("%v is described and not exported", d)
		}
	}
}

// The numbers of the phases are those of the document.
func TestDocumentedPhases(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for p := phase.Legacy; int(p) < phase.Count; p++ {
		if want := fmt.Sprintf("| %d | %v |", p, p); !strings.Contains(string(text), want) {
			t.Errorf("docs/metrics.md has no line that begins with %q", want)
		}
	}
}
