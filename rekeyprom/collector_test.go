package rekeyprom_test

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
	"github.com/classwaves/rekey/rekeyprom"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const testPlan = `
version: 1
environment: test
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

// instance opens the plan on a server, with a client over it.
func instance(t testing.TB, opts ...rekey.Option) (*rekey.Rekey, *redis.Client, *redistest.Server) {
	t.Helper()
	p, err := plan.Parse("test.yaml", []byte(testPlan), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rekey.Open(t.Context(), p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Shared(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1, PoolSize: 1})
	t.Cleanup(func() {
		_ = rdb.Close() // the test may have closed it
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, rdb, server
}

// busy is an instance on which something was counted under every metric that an application can cause.
func busy(t testing.TB) *rekey.Rekey {
	r, rdb, server := instance(t, rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual, "limits": phase.Move}))
	ctx := t.Context()
	bare := server.Client()
	for _, name := range []string{"secure_session:a", "rl:auth:x"} {
		if err := bare.Set(ctx, name, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rdb.Get(ctx, "secure_session:a")                          // falls back
	rdb.Get(ctx, "secure_session:a")                          // and not again
	rdb.Append(ctx, "secure_session:a", "2")                  // replayed
	rdb.Eval(ctx, "return 1", []string{"secure_session:a"})   // copied
	rdb.Set(ctx, "secure_session:b", "1", 0)                  // overwrites
	rdb.Del(ctx, "secure_session:b")                          //
	rdb.Incr(ctx, "rl:auth:x")                                // brings it
	rdb.Keys(ctx, "nothing:*")                                //
	rdb.Sort(ctx, "secure_session:a", &redis.Sort{By: "w_*"}) // refused
	rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Do(ctx, "NOSUCHCOMMAND", "secure_session:a").Err() })
	return r
}

func TestCollect(t *testing.T) {
	want := `
# HELP rekey_commands_total Commands of the application on keys of the rule, by class.
# TYPE rekey_commands_total counter
rekey_commands_total{class="count",rule="sessions"} 1
rekey_commands_total{class="overwrite",rule="sessions"} 1
rekey_commands_total{class="read",rule="sessions"} 2
rekey_commands_total{class="recopy",rule="sessions"} 1
rekey_commands_total{class="replay",rule="limits"} 1
rekey_commands_total{class="replay",rule="sessions"} 1
# HELP rekey_divergences_total Writes on both names whose two replies differed. Must stay 0.
# TYPE rekey_divergences_total counter
rekey_divergences_total{rule="limits"} 0
rekey_divergences_total{rule="sessions"} 0
# HELP rekey_fallbacks_total Reads in dual and drain that found the value under the legacy name only; with strategy move, keys that were brought to the target name.
# TYPE rekey_fallbacks_total counter
rekey_fallbacks_total{rule="limits"} 1
rekey_fallbacks_total{rule="sessions"} 1
# HELP rekey_held_total Times that flags asked for a step whose gate had no verdict, and the rule stayed where it was.
# TYPE rekey_held_total counter
rekey_held_total{rule="limits"} 0
rekey_held_total{rule="sessions"} 0
# HELP rekey_keys_calls_total KEYS commands of the application. rekey sends none.
# TYPE rekey_keys_calls_total counter
rekey_keys_calls_total 1
# HELP rekey_phase The phase of the rule in this process, by number.
# TYPE rekey_phase gauge
rekey_phase{rule="limits",strategy="move"} 9
rekey_phase{rule="sessions",strategy="mirror"} 3
# HELP rekey_phase_wanted The phase that the process is asked to be in, by number.
# TYPE rekey_phase_wanted gauge
rekey_phase_wanted{rule="limits",strategy="move"} 9
rekey_phase_wanted{rule="sessions",strategy="mirror"} 3
# HELP rekey_recopies_total Writes after which the whole value was copied to the other name.
# TYPE rekey_recopies_total counter
rekey_recopies_total{rule="limits"} 0
rekey_recopies_total{rule="sessions"} 1
# HELP rekey_refused_total Commands that were answered with an error of rekey's own, by reason; rule is empty where none is known.
# TYPE rekey_refused_total counter
rekey_refused_total{reason="closed",rule=""} 0
rekey_refused_total{reason="closed",rule="limits"} 0
rekey_refused_total{reason="closed",rule="sessions"} 0
rekey_refused_total{reason="reach",rule=""} 0
rekey_refused_total{reason="reach",rule="limits"} 0
rekey_refused_total{reason="reach",rule="sessions"} 1
rekey_refused_total{reason="server",rule=""} 0
rekey_refused_total{reason="server",rule="limits"} 0
rekey_refused_total{reason="server",rule="sessions"} 0
rekey_refused_total{reason="transaction",rule=""} 0
rekey_refused_total{reason="transaction",rule="limits"} 0
rekey_refused_total{reason="transaction",rule="sessions"} 0
rekey_refused_total{reason="unknown",rule=""} 1
rekey_refused_total{reason="unknown",rule="limits"} 0
rekey_refused_total{reason="unknown",rule="sessions"} 0
# HELP rekey_replays_total Writes that were sent on both names.
# TYPE rekey_replays_total counter
rekey_replays_total{rule="limits"} 0
rekey_replays_total{rule="sessions"} 2
# HELP rekey_uncopied_total Commands that were answered without what the phase adds, because the server refused that.
# TYPE rekey_uncopied_total counter
rekey_uncopied_total{rule="limits"} 0
rekey_uncopied_total{rule="sessions"} 0
# HELP rekey_ungated_total Times that flags asked for a step whose gate had no verdict, and it was made all the same.
# TYPE rekey_ungated_total counter
rekey_ungated_total{rule="limits"} 0
rekey_ungated_total{rule="sessions"} 0
`
	// The client decides how many connections it opens; TestAfterClose looks at them.
	var names []string
	for line := range strings.Lines(want) {
		if words := strings.Fields(line); len(words) > 2 && words[1] == "TYPE" {
			names = append(names, words[2])
		}
	}
	if err := testutil.CollectAndCompare(rekeyprom.New(busy(t)), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// What the linter of Prometheus says of names and helps.
func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(rekeyprom.New(busy(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A rule that a gate holds back is at one phase and wanted at another, and counted.
func TestHeldAndUngated(t *testing.T) {
	for _, gated := range []string{"1", "0"} {
		environment := map[string]string{phase.CachePrefixEnabled: "1", phase.CacheDualWrite: "1", phase.CacheGated: gated}
		r, _, _ := instance(t, rekey.WithFlags(func(name string) (string, bool) { v, ok := environment[name]; return v, ok }))
		held, ungated, now := 1.0, 0.0, phase.Guard
		if gated == "0" {
			held, ungated, now = 0, 1, phase.Dual
		}
		c := rekeyprom.New(r)
		for name, want := range map[string]float64{
			"rekey_held_total": held, "rekey_ungated_total": ungated, "rekey_phase": float64(now), "rekey_phase_wanted": float64(phase.Dual),
		} {
			if got := value(t, c, name, "sessions"); got != want {
				t.Errorf("gated %s: %s is %v, want %v", gated, name, got, want)
			}
		}
	}
}

// What was added to commands has its percentiles by rule and class.
func TestAddedByRuleAndClass(t *testing.T) {
	r, rdb, _ := instance(t, rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual, "limits": phase.Move}))
	ctx := t.Context()
	for range 1000 {
		rdb.Set(ctx, "secure_session:a", "1", 0)
		rdb.Get(ctx, "secure_session:a")
		rdb.Incr(ctx, "rl:auth:x")
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(rekeyprom.New(r))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		if f.GetName() != "rekey_command_added_seconds" {
			continue
		}
		for _, m := range f.GetMetric() { // its labels are in order: class, rule
			h, name := m.GetHistogram(), m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()
			got[name] = true
			if h.GetSampleCount() == 0 || h.GetSampleSum() <= 0 || len(h.GetBucket()) < 10 {
				t.Errorf("%s: %v", name, h)
			}
			var below uint64
			for _, b := range h.GetBucket() {
				if n := b.GetCumulativeCount(); n < below || n > h.GetSampleCount() {
					t.Errorf("%s: %d of %d up to %v, and %d before", name, n, h.GetSampleCount(), b.GetUpperBound(), below)
				}
				below = b.GetCumulativeCount()
			}
		}
	}
	if want := map[string]bool{"sessions overwrite": true, "sessions read": true, "limits replay": true}; !maps.Equal(got, want) {
		t.Errorf("series of %v, want %v", got, want)
	}
}

// A closed instance is scraped like any other, and registering twice fails as it should.
func TestAfterClose(t *testing.T) {
	r, rdb, _ := instance(t, rekey.WithPhases(nil))
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if n := value(t, rekeyprom.New(r), "rekey_connections", ""); n < 1 {
		t.Errorf("%v connections while a client is connected", n)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(rekeyprom.New(r)); err != nil {
		t.Fatal(err)
	}
	if err := registry.Register(rekeyprom.New(r)); err == nil {
		t.Error("two instances under the same names")
	}
	if err := rdb.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 5*time.Second, func() bool { return value(t, rekeyprom.New(r), "rekey_connections", "") == 0 })
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}

// value is that of a metric without other labels than a rule and its strategy.
func value(t testing.TB, c prometheus.Collector, name, rule string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			of := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "rule" {
					of = l.GetValue()
				}
			}
			if of == rule {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no %s of rule %q", name, rule)
	return 0
}

// BenchmarkCollect is what a scrape costs with the plan's two rules.
func BenchmarkCollect(b *testing.B) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(rekeyprom.New(busy(b)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
