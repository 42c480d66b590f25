package analytics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestMetricsAreWellFormed(t *testing.T) {
	a := start(t, redistest.Shared(t).Client(), newMemory(1))
	apply(t, a, "s0", joined("s0-a"), joined("s0-a"))
	problems, err := testutil.CollectAndLint(a)
	if err != nil || len(problems) != 0 {
		t.Errorf("got %v, %v", problems, err)
	}
	want := "# HELP classwaves_analytics_update_batches_total Round trips that the acknowledged events took.\n" +
		"# TYPE classwaves_analytics_update_batches_total counter\nclasswaves_analytics_update_batches_total 2\n"
	if err := testutil.CollectAndCompare(a, strings.NewReader(want), "classwaves_analytics_update_batches_total"); err != nil {
		t.Error(err)
	}
	if text := asJSON(t, a.Metrics()); !strings.Contains(text, `"legacyFallbacks":0`) {
		t.Errorf("got %s", text)
	}
}

func TestNewRefuses(t *testing.T) {
	rdb, db := redistest.Shared(t).Client(), newMemory(0)
	for name, c := range map[string]Config{
		"no Redis":       {Source: db},
		"no Source":      {Redis: rdb},
		"sync":           {Redis: rdb, Source: db, SyncEvery: time.Microsecond},
		"cache timeout":  {Redis: rdb, Source: db, CacheTimeout: -1},
		"source timeout": {Redis: rdb, Source: db, SourceTimeout: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
