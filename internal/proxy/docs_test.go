package proxy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestDocumentedMetrics: the tables of docs/proxy.md are what the proxy exports, and every reason for which
// it ends a client.
func TestDocumentedMetrics(t *testing.T) {
	text, err := os.ReadFile("../../docs/proxy.md")
	must(t, err)
	r := start(t, redistest.Shared(t), proxy.Limits{})
	registry := prometheus.NewPedanticRegistry()
	must(t, registry.Register(r.Proxy))
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
		if row = strings.ReplaceAll(row, "|  |", "| |"); !strings.Contains(string(text), row) {
			t.Errorf("docs/proxy.md lacks\n%s", row)
		}
		if f.GetName() != "rekey_proxy_ended_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if row := "| " + m.GetLabel()[0].GetValue() + " |"; !strings.Contains(string(text), row) {
				t.Errorf("docs/proxy.md has no line that begins with %q", row)
			}
		}
	}
	if n := strings.Count(string(text), "\n| `rekey_"); n != len(families) {
		t.Errorf("docs/proxy.md has %d metrics, want %d", n, len(families))
	}
}
