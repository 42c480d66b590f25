package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

func open(t testing.TB, c *redis.Client) *sweep.Store {
	t.Helper()
	s := sweep.OpenStore(c, parse(t, testPlan))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func load(t testing.TB, s *sweep.Store, kind sweep.Kind) (sweep.Verdict, bool) {
	t.Helper()
	v, ok, err := s.Load(t.Context(), "things", kind)
	if err != nil {
		t.Fatal(err)
	}
	return v, ok
}

func TestVerdictIsStored(t *testing.T) {
	client := redistest.Shared(t).Client()
	store := open(t, client)
	p := parse(t, testPlan)
	fill(t, client, "thing:")
	if _, ok := load(t, store, sweep.Backfill); ok {
		t.Error("there is a verdict before any sweep")
	}
	before := client.Time(t.Context()).Val()
	r := run(t, sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual})
	got, ok := load(t, store, sweep.Backfill)
	if !ok {
		t.Fatal("there is no verdict")
	}
	if holds, reason := got.Holds(phase.Copied); !holds {
		t.Errorf("the stored verdict does not hold: %s", reason)
	}
	if got.Kind != sweep.Backfill || got.Rule != "things" || got.RuleHash != p.Hash(0) || got.Phase != phase.Dual || got.Changed != r.Changed || got.RunID == "" || got.ReplicationID == "" {
		t.Errorf("got %+v", got)
	}
	if got.Started.Before(before) || got.Ended.Before(got.Started) {
		t.Errorf("got %v to %v, want times after %v by the server's clock", got.Started, got.Ended, before)
	}
	raw := client.Get(t.Context(), "rekey:test:sweep:backfill:things").Val()
	if strings.Contains(raw, "thing:") {
		t.Errorf("the verdict holds names of keys: %s", raw)
	}

	if err := store.Remove(t.Context(), "things", phase.Quiet, phase.NoTarget); err != nil {
		t.Fatal(err)
	}
	if _, ok := load(t, store, sweep.Backfill); !ok {
		t.Error("removing other gates removed it")
	}
	if err := store.Remove(t.Context(), "things", phase.Copied); err != nil {
		t.Fatal(err)
	}
	if _, ok := load(t, store, sweep.Backfill); ok {
		t.Error("it is there after it was removed")
	}
}

// TestVerdictIsGoneWhileItsSweepRuns, and stays away if the sweep is killed.
func TestVerdictIsGoneWhileItsSweepRuns(t *testing.T) {
	client := redistest.Shared(t).Client()
	store := open(t, client)
	for i := range 2000 {
		do(t, client, "SET", fmt.Sprintf("thing:%d", i), "v")
	}
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50}
	run(t, o)
	if _, ok := load(t, store, sweep.Backfill); !ok {
		t.Fatal("no verdict to begin with")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pages := 0
	o.OnProgress = func(sweep.Progress) {
		if _, ok := load(t, store, sweep.Backfill); ok {
			t.Error("the old verdict is there while its sweep runs")
		}
		if pages++; pages == 3 {
			cancel()
		}
	}
	do(t, client, "DEL", target("thing:1"))
	r, err := sweep.Run(ctx, o)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "start it again") {
		t.Errorf("got %v", err)
	}
	if pages < 3 || pages > 4 || r.Matched == 0 || r.Matched > 1000 {
		t.Errorf("got %d pages and %d keys, want the sweep stopped after 3 pages and the one that had begun", pages, r.Matched)
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("after %d keys", r.Matched)) {
		t.Errorf("the error does not say what was done: %v", err)
	}
	if _, ok := load(t, store, sweep.Backfill); ok || r.Stored {
		t.Error("a killed sweep left a verdict")
	}

	o.OnProgress = nil
	mustHold(t, run(t, o), phase.Copied)
	if client.Exists(t.Context(), target("thing:1")).Val() != 1 {
		t.Error("the sweep that started over missed a key")
	}
}

// TestVerdictThatIsRemovedWhileItsSweepRuns must not come back when the sweep ends: a step has undone it.
func TestVerdictThatIsRemovedWhileItsSweepRuns(t *testing.T) {
	client := redistest.Shared(t).Client()
	store := open(t, client)
	fill(t, client, "thing:")
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}
	o.OnProgress = func(sweep.Progress) {
		if err := store.Remove(t.Context(), "things", phase.Copied); err != nil {
			t.Error(err)
		}
	}
	r := run(t, o)
	mustNotHold(t, r, phase.Copied, "the sweep's record is gone: a step removed it")
	if _, ok := load(t, store, sweep.Backfill); ok || r.Stored {
		t.Error("the verdict is stored")
	}
}

// TestFlushAllInTheMiddle takes the record with the keys: the reason is neither a step nor another sweep alone, whether the sweep
// notices it at its end or while there are keys again.
func TestFlushAllInTheMiddle(t *testing.T) {
	client := redistest.Shared(t).Client()
	const says = "the database was emptied (FLUSHALL, FLUSHDB), and the fleet's records with it; see with rekey status"
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50}
	pages := 0
	seedKeys(t, client, "thing:", 2000)
	o.OnProgress = func(sweep.Progress) {
		if pages++; pages == 5 {
			do(t, client, "FLUSHALL")
		}
	}
	r := run(t, o)
	mustNotHold(t, r, phase.Copied, says)

	pages = 0
	seedKeys(t, client, "thing:", 2000)
	o.Rate = 1000 // a page takes 50 ms, and a record is written every 200
	o.OnProgress = func(sweep.Progress) {
		if pages++; pages == 5 {
			do(t, client, "FLUSHALL")
			seedKeys(t, client, "thing:", 2000)
		}
	}
	if _, err := sweep.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v", err)
	}
}

func TestVerdictWaitsForReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	replica := server.Replica()
	client := server.Client()
	do(t, client, "SET", "thing:1", "v")
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, ReplicaTimeout: 5 * time.Second}
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	if r.Verdict.Replicas != 1 {
		t.Errorf("got %d replicas, want 1", r.Verdict.Replicas)
	}

	// The replica hangs.
	replica.Pause()
	defer replica.Continue()
	do(t, client, "DEL", target("thing:1"))
	o.ReplicaTimeout = 200 * time.Millisecond
	r = run(t, o)
	mustNotHold(t, r, phase.Copied, "0 of 1 connected replicas acknowledged the sweep within 200ms")
	if v, ok := load(t, open(t, client), sweep.Backfill); !ok {
		t.Error("there is no verdict to say why")
	} else if holds, _ := v.Holds(phase.Copied); holds {
		t.Error("the stored verdict holds")
	}
	// A purge that removes nothing has nothing to wait for of its own, and yet what went before it must be there.
	o.Kind, o.Phase = sweep.Purge, phase.Guard
	do(t, client, "DEL", target("thing:1"))
	mustNotHold(t, run(t, o), phase.NoTarget, "0 of 1")
}
