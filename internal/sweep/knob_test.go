package sweep_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func turn(t testing.TB, c *redis.Client, p *plan.Plan, rule string, k sweep.Knobs) {
	t.Helper()
	if err := sweep.TurnKnobs(t.Context(), c, p, rule, k); err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// TestKnobsWhileASweepRuns: it pauses, goes on, and says why it sleeps.
func TestKnobsWhileASweepRuns(t *testing.T) {
	t.Parallel()
	client := redistest.Shared(t).Client()
	p := parse(t, testPlan)
	seedKeys(t, client, "thing:", 3000)
	turn(t, client, p, sweep.AllRules, sweep.Knobs{Nice: ptr(1.0)})
	turn(t, client, p, "things", sweep.Knobs{Paused: ptr(true), Rate: ptr(1500.0), Batch: ptr(40)})
	reasons := make(map[string]int)
	o := sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}
	o.OnProgress = func(now sweep.Progress) {
		word, _, _ := strings.Cut(now.Reason, " ")
		if reasons[word]++; word == "paused" {
			if now.Seen != 0 {
				t.Errorf("paused from the start, and %d names were seen", now.Seen)
			}
			if !strings.HasSuffix(now.Reason, "rekey knob things --resume goes on") {
				t.Errorf("paused: got %q", now.Reason)
			}
			turn(t, client, p, "things", sweep.Knobs{Paused: ptr(false)})
		}
		if word == "rate:" && reasons[word] == 10 {
			turn(t, client, p, "things", sweep.Knobs{Rate: ptr(0.0)})
		}
	}
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	for _, word := range []string{"paused", "rate:", "nice:"} {
		if reasons[word] == 0 {
			t.Errorf("the sweep never said %q: %v", word, reasons)
		}
	}
	if r.Held["knob"] == 0 || r.Held["rate"] < 100*time.Millisecond {
		t.Errorf("got %v, want knob and rate", r.Held)
	}
	if got, err := sweep.ReadKnobs(t.Context(), client, p); err != nil || *got["things"].Batch != 40 || *got[sweep.AllRules].Nice != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := sweep.ResetKnobs(t.Context(), client, p, "things"); err != nil {
		t.Fatal(err)
	}
	if got, _ := sweep.ReadKnobs(t.Context(), client, p); got["things"].Set() || !got[sweep.AllRules].Set() {
		t.Errorf("after a reset: got %+v", got)
	}
}

// TestNiceCountsTheWalk: where the rule has few names among many, SCAN is all the work that there is, and the sweep sleeps for it
// as well.
func TestNiceCountsTheWalk(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "somebody:", 60_000)
	do(t, client, "SET", "thing:1", "v")
	do(t, client, "CONFIG", "RESETSTAT")
	const nice = 5
	r := run(t, sweep.Options{
		Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Page: 2000, Nice: nice,
	})
	_, text, _ := strings.Cut(client.Info(t.Context(), "commandstats").Val(), "cmdstat_scan:calls=")
	_, text, _ = strings.Cut(text, "usec=")
	text, _, _ = strings.Cut(text, ",")
	usec, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	// The server's own time of all SCANs; the sweep has waited for longer, and does not sleep after the last page.
	if took := time.Duration(usec) * time.Microsecond; r.Held["nice"] < nice*took/2 {
		t.Errorf("it slept for %v, and the SCANs took the server %v", r.Held["nice"], took)
	}
}

// TestThrottledSweepWaitsForRoom: copies are not made while the server is about to be full.
func TestThrottledSweepWaitsForRoom(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, redistest.WithConfig("maxmemory-policy noeviction")).Client()
	seedKeys(t, client, "thing:", 8000)
	waited := false
	o := sweep.Options{
		Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50,
		Throttled: true, Overcommit: true, Rate: 200,
	}
	full := false
	o.OnProgress = func(now sweep.Progress) {
		switch {
		case !full:
			full = true
			used := infoNumber(t, client, "memory", "used_memory")
			do(t, client, "CONFIG", "SET", "maxmemory", used+used/25)
		case !waited && strings.HasPrefix(now.Reason, "memory: "):
			waited = true
			do(t, client, "CONFIG", "SET", "maxmemory", "0")
			turn(t, client, o.Plan, "things", sweep.Knobs{Rate: ptr(0.0)})
		}
	}
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	if !waited || r.Held["memory"] == 0 {
		t.Errorf("it did not wait: held %v", r.Held)
	}
}

// infoNumber is a number of INFO.
func infoNumber(t testing.TB, c *redis.Client, section, name string) int64 {
	t.Helper()
	for line := range strings.Lines(c.Info(t.Context(), section).Val()) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			var n int64
			for _, digit := range text {
				n = 10*n + int64(digit-'0')
			}
			return n
		}
	}
	t.Fatalf("INFO has no %s", name)
	return 0
}

// TestKnobsOnAFullServer: sweeps that make room run there, and are to be paused there too. Where the server does not allow
// that, as one that has no such scripts does not allow it to anybody, it says what to do.
func TestKnobsOnAFullServer(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	p := parse(t, testPlan)
	do(t, client, "ACL", "SETUSER", "limited", "on", ">x", "~*", "&*", "+@all", "-eval")
	do(t, client, "SET", "somebody", strings.Repeat("x", 2<<20))
	do(t, client, "CONFIG", "SET", "maxmemory", "1mb")
	limited := server.Client(func(o *redis.Options) { o.Username, o.Password = "limited", "x" })
	if err := sweep.TurnKnobs(t.Context(), limited, p, sweep.AllRules, sweep.Knobs{Paused: ptr(true)}); err == nil ||
		!strings.Contains(err.Error(), "OOM") || !strings.Contains(err.Error(), "; raise maxmemory or free some, or stop the sweep with Ctrl-C") {
		t.Errorf("got %v", err)
	}
	turn(t, client, p, sweep.AllRules, sweep.Knobs{Paused: ptr(true), Rate: ptr(5.0)})
	all, err := sweep.ReadKnobs(t.Context(), client, p)
	if k := all[sweep.AllRules]; err != nil || k.Paused == nil || !*k.Paused || k.Rate == nil || *k.Rate != 5 {
		t.Errorf("got %+v, %v", all, err)
	}
}
