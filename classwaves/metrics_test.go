package classwaves_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/live"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

// metric is a row of docs/metrics.md.
type metric struct{ kind, labels, help string }

var metricRow = regexp.MustCompile("^\\| `(classwaves_[a-z_]+)` \\| (\\w+) \\| ([a-z_, ]*?) ?\\| (.*) \\|$")

func documentedMetrics(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]metric)
	for line := range strings.Lines(string(text)) {
		if m := metricRow.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			if _, twice := rows[m[1]]; twice {
				t.Errorf("docs/metrics.md has %s twice", m[1])
			}
			rows[m[1]] = metric{m[2], m[3], m[4]}
		}
	}
	return rows
}

// described is what a collector says of its metrics, whether it has counted anything or not. The kind is
// told by the name, as it should be.
func described(t *testing.T, c prometheus.Collector, into map[string]metric) {
	t.Helper()
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		m := descText.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("not understood: %v", d)
		}
		help, err := strconv.Unquote(m[2])
		ok(t, err)
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		into[m[1]] = metric{kindByName(m[1]), strings.Join(labels, ", "), help}
	}
}

var descText = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: (".*"), unit: ".*", constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

func kindByName(name string) string {
	switch {
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_timestamp_seconds"):
		return "histogram"
	default:
		return "gauge"
	}
}

// shown is what a running server shows after a request.
func shown(t *testing.T, into map[string]metric) {
	t.Helper()
	server, err := app.Start(t.Context(), app.Config{Environment: "test", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var text []byte
	for range 2 { // the first request is counted when the second one is answered
		resp, err := client.Get(server.URL() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read to its end
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET /metrics: %s, %v", resp.Status, err)
		}
	}
	helps := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, help, ok := strings.Cut(strings.TrimPrefix(line, "# HELP "), " "); ok && strings.HasPrefix(line, "# HELP classwaves_") {
			helps[name] = help
		}
		name, kind, ok := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " ")
		if !ok || !strings.HasPrefix(line, "# TYPE classwaves_") {
			continue
		}
		if kind != kindByName(name) {
			t.Errorf("%s is a %s, and its name says %s", name, kind, kindByName(name))
		}
		if _, known := into[name]; !known {
			into[name] = metric{kind, labelsShown(string(text), name), helps[name]}
		}
	}
}

// labelsShown are those of the first series of a metric.
func labelsShown(text, name string) string {
	series := regexp.MustCompile(`(?m)^` + name + `(?:_bucket)?\{(.*?)\} `).FindStringSubmatch(text)
	if series == nil {
		return ""
	}
	var labels []string
	for _, l := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(series[1], -1) {
		if l[1] != "le" {
			labels = append(labels, l[1])
		}
	}
	slices.Sort(labels)
	return strings.Join(labels, ", ")
}

// TestDocumentedMetrics: the table of docs/metrics.md is what the services describe and what a server
// shows beside them.
func TestDocumentedMetrics(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	db, err := database.Open(t.Context(), "sqlite::memory:")
	ok(t, err)
	key, err := app.NewSessionKeys()
	ok(t, err)
	sessions, err := session.New(session.Config{Redis: rdb, Backing: db, Keys: key})
	ok(t, err)
	queries, err := querycache.New(querycache.Config{Redis: rdb})
	ok(t, err)
	limiter, err := ratelimit.New(ratelimit.Config{Redis: rdb})
	ok(t, err)
	hub, err := live.New(live.Config{Redis: rdb, Environment: "test"})
	ok(t, err)
	tokens, err := csrf.New(csrf.Config{Redis: rdb})
	ok(t, err)
	codes, err := accesscode.New(accesscode.Config{Redis: rdb, Directory: db})
	ok(t, err)
	figures, err := analytics.New(analytics.Config{Redis: rdb, Source: db})
	ok(t, err)

	want := make(map[string]metric)
	for _, c := range []prometheus.Collector{sessions, queries, limiter, hub, tokens, codes, figures} {
		described(t, c, want)
	}
	for _, c := range []io.Closer{sessions, queries, limiter, hub, db} {
		ok(t, c.Close())
	}
	shown(t, want)

	got := documentedMetrics(t)
	for name, m := range want {
		if got[name] != m {
			t.Errorf("docs/metrics.md lacks\n| `%s` | %s | %s | %s |", name, m.kind, m.labels, m.help)
		}
	}
	for name, m := range got {
		if want[name] != m {
			t.Errorf("docs/metrics.md has, and nothing exports\n| `%s` | %s | %s | %s |", name, m.kind, m.labels, m.help)
		}
	}
	if len(want) < 30 {
		t.Errorf("%d metrics found, some are missing", len(want))
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
