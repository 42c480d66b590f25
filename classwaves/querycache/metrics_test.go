package querycache

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestCacheMetrics(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client(), func(cfg *Config) { cfg.LegacyFallbacks = func() uint64 { return 7 } })
	list := Entry{Type: SessionList, Key: "k"}
	mustGet(t, c, detail, newSource("v").load, "v")
	for range 3 {
		mustGet(t, c, detail, newSource("v").load, "v")
	}
	mustGet(t, c, list, newSource("v").load, "v")
	must(t, c.Invalidate(t.Context(), changed))

	m := c.CacheMetrics()
	d := m.Types["session-detail"]
	if m.LegacyFallbacks != 7 || m.Invalidations != 1 || len(m.Types) != 2 {
		t.Errorf("metrics %+v", m)
	}
	if d.Hits != 3 || d.Misses != 1 || d.HitRate != 0.75 || d.Loads != 1 || d.Fills != 1 || d.MeanRetrievalMS <= 0 {
		t.Errorf("of session-detail: %+v", d)
	}
	text, err := json.Marshal(m)
	must(t, err)
	for _, name := range []string{`"legacyFallbacks":7`, `"types":{"session-detail":{"hits":3,"misses":1,"hitRate":0.75,"meanRetrievalMs":`, `"coalesced"`, `"refreshAhead"`, `"staleServed"`} {
		if !strings.Contains(string(text), name) {
			t.Errorf("no %s in %s", name, text)
		}
	}
}

func TestPrometheus(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	mustGet(t, c, detail, newSource("v").load, "v")
	mustGet(t, c, detail, newSource("v").load, "v")
	must(t, c.Invalidate(t.Context(), changed))
	registry := prometheus.NewPedanticRegistry()
	must(t, registry.Register(c))
	families, err := registry.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"classwaves_query_cache_hits_total type=session-detail":              1,
		"classwaves_query_cache_misses_total type=session-detail":            1,
		"classwaves_query_cache_fills_total type=session-detail":             1,
		"classwaves_query_cache_coalesced_total type=session-detail":         0,
		"classwaves_query_cache_refresh_ahead_total type=session-detail":     0,
		"classwaves_query_cache_stale_served_total type=session-detail":      0,
		"classwaves_query_cache_invalidations_total result=done":             1,
		"classwaves_query_cache_invalidations_total result=failed":           0,
		"classwaves_query_cache_unavailable_total":                           0,
		"classwaves_query_cache_get_seconds result=hit type=session-detail":  1,
		"classwaves_query_cache_get_seconds result=miss type=session-detail": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v, %v; want %v", name, v, ok, want)
		}
	}
}

func TestNewValidates(t *testing.T) {
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	single := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _, _, _ = cluster.Close(), ring.Close(), single.Close() }()
	for name, cfg := range map[string]Config{
		"no client":          {},
		"a cluster":          {Redis: cluster},
		"a ring":             {Redis: ring},
		"a negative timeout": {Redis: single, LoadTimeout: -1},
		"a negative size":    {Redis: single, MaxValue: -1},
	} {
		if c, err := New(cfg); err == nil {
			t.Errorf("%s: %v", name, c.Close())
		}
	}
	c, err := New(Config{Redis: single})
	must(t, err)
	must(t, c.Close())
}
