package sweep_test

import (
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

// oldReleaseRead is what the old release showed of a key: the name that it read, else the other.
func oldReleaseRead(legacy, target string, reads sweep.Name) string {
	first, second := legacy, target
	if reads == sweep.TargetName {
		first, second = target, legacy
	}
	if first == "" {
		return second
	}
	return first
}

// Whatever the release read and wherever the keys are left: each key shows what it showed, under one
// name. A second adoption with the same words changes nothing.
func TestAdopt(t *testing.T) {
	for _, rule := range []struct{ name, legacy, target string }{
		{"things", "thing:", "cw:test:thing:"},
		{"limits", "limit:", "cw:test:limit:"},
	} {
		for _, reads := range []sweep.Name{sweep.LegacyName, sweep.TargetName} {
			for _, leave := range []phase.Phase{phase.Legacy, phase.Prefixed} {
				t.Run(fmt.Sprintf("%s/%v/%v", rule.name, reads, leave), func(t *testing.T) {
					c := redistest.Shared(t).Client()
					want := make(map[string]string)
					for i, id := range hostile {
						legacy, target := []string{"old", "", "same"}[i%3], []string{"new", "new", "same", ""}[i%4]
						for name, value := range map[string]string{rule.legacy + id: legacy, rule.target + id: target} {
							if value != "" {
								noError(t, c.Set(t.Context(), name, value, 0).Err())
							}
						}
						if shown := oldReleaseRead(legacy, target, reads); shown != "" {
							want[id] = shown
						}
					}
					noError(t, c.Set(t.Context(), "bystander:1", "x", 0).Err())
					stays, other := rule.legacy, rule.target
					if leave == phase.Prefixed {
						stays, other = other, stays
					}
					o := sweep.AdoptOptions{Client: c, Plan: parse(t, testPlan), Rule: rule.name, Reads: reads, Leave: leave}

					before := values(t, c)
					dry := adopt(t, o)
					if after := values(t, c); !sameValues(before, after) {
						t.Fatalf("a dry run changed the data: %q, was %q", after, before)
					}
					o.Execute = true
					done := adopt(t, o)
					if dry.Moved != done.Moved || dry.Replaced != done.Replaced || dry.Dropped != done.Dropped || dry.Differ() != done.Differ() || done.Differ() == 0 {
						t.Errorf("done %+v, foretold %+v", done, dry)
					}
					for id, value := range want {
						if got := c.Get(t.Context(), stays+id).Val(); got != value {
							t.Errorf("%q is %q, want %q", stays+id, got, value)
						}
						if n := c.Exists(t.Context(), other+id).Val(); n != 0 {
							t.Errorf("%q is still there", other+id)
						}
					}
					if n := len(values(t, c)); n != len(want)+1 {
						t.Errorf("%d keys, want %d and a bystander", n, len(want))
					}
					again := adopt(t, o)
					if again.Changed != 0 || again.Differ() != 0 {
						t.Errorf("the second time %+v", again)
					}
				})
			}
		}
	}
}

// A rename keeps type and TTL.
func TestAdoptKeepsTypeAndTTL(t *testing.T) {
	c := redistest.Shared(t).Client()
	ctx := t.Context()
	at := time.UnixMilli(4102444800123)
	noError(t, c.SAdd(ctx, "cw:test:thing:set", "a", "b").Err())
	noError(t, c.Do(ctx, "PEXPIREAT", "cw:test:thing:set", at.UnixMilli()).Err())
	noError(t, c.SAdd(ctx, "thing:set", "stale").Err())
	result := adopt(t, sweep.AdoptOptions{Client: c, Plan: parse(t, testPlan), Rule: "things", Reads: sweep.TargetName, Leave: phase.Legacy, Execute: true})
	if result.Replaced != 1 || result.Problems[sweep.Value] != 1 {
		t.Errorf("got %+v", result)
	}
	if got := c.SCard(ctx, "thing:set").Val(); got != 2 {
		t.Errorf("%d members, want 2", got)
	}
	if got := c.Do(ctx, "PEXPIRETIME", "thing:set").Val(); got != at.UnixMilli() {
		t.Errorf("expires at %v, want %d", got, at.UnixMilli())
	}
}

// A release that writes both names by two commands gives them two expiry times. They are no difference
// within the tolerance, and the time of the name that was read is kept to the millisecond.
func TestAdoptToleratesTTLs(t *testing.T) {
	c := redistest.Shared(t).Client()
	at := time.Now().Add(time.Hour).UnixMilli()
	for name, ms := range map[string]int64{"thing:1": at, "cw:test:thing:1": at + 900, "thing:2": at, "cw:test:thing:2": at + 1100} {
		noError(t, c.Do(t.Context(), "SET", name, "v", "PXAT", ms).Err())
	}
	o := sweep.AdoptOptions{Client: c, Plan: parse(t, testPlan), Rule: "things", Reads: sweep.TargetName, Leave: phase.Legacy}
	if n := adopt(t, o).Problems[sweep.TTL]; n != 2 {
		t.Errorf("without a tolerance %d expiry times differ, want 2", n)
	}
	o.TTLTolerance, o.Execute = time.Second, true
	if r := adopt(t, o); r.Problems[sweep.TTL] != 1 || r.Replaced != 2 {
		t.Errorf("got %+v, want one that differs and two that are replaced", r)
	}
	if got := c.Do(t.Context(), "PEXPIRETIME", "thing:1").Val(); got != at+900 {
		t.Errorf("expires at %v, want %d", got, at+900)
	}
}

// What an adoption changes is no longer what earlier sweeps have proven.
func TestAdoptRemovesVerdicts(t *testing.T) {
	c := redistest.Shared(t).Client()
	p := parse(t, testPlan)
	run(t, sweep.Options{Client: c, Plan: p, Rule: "things", Kind: sweep.Purge, Phase: phase.Guard})
	store := sweep.OpenStore(c, p)
	defer func() { _ = store.Close() }()
	if _, ok, err := store.Load(t.Context(), "things", sweep.Purge); err != nil || !ok {
		t.Fatalf("no verdict: %v", err)
	}
	o := sweep.AdoptOptions{Client: c, Plan: p, Rule: "things", Reads: sweep.TargetName, Leave: phase.Legacy}
	adopt(t, o)
	if _, ok, _ := store.Load(t.Context(), "things", sweep.Purge); !ok {
		t.Error("a dry run removed the verdict")
	}
	o.Execute = true
	adopt(t, o)
	if _, ok, _ := store.Load(t.Context(), "things", sweep.Purge); ok {
		t.Error("the verdict is still there")
	}
}

// An adoption would take the record from a sweep that lives, and keys away that it has looked at.
func TestAdoptBesideASweep(t *testing.T) {
	c := redistest.Shared(t).Client()
	seedKeys(t, c, "limit:", 500)
	o := sweep.AdoptOptions{Client: c, Plan: parse(t, testPlan), Rule: "limits", Reads: sweep.TargetName, Leave: phase.Legacy, Execute: true}
	tried := false
	mustHold(t, run(t, sweep.Options{
		Client: c, Plan: parse(t, testPlan), Rule: "limits", Kind: sweep.Relocate, Phase: phase.Move, Page: 20, Owner: "somebody@here",
		OnProgress: func(sweep.Progress) {
			if tried {
				return
			}
			tried = true
			var held *sweep.LeaseError
			if _, err := sweep.Adopt(t.Context(), o); !errors.As(err, &held) || held.Owner != "somebody@here" {
				t.Errorf("got %v, want that a sweep is under way", err)
			}
		},
	}), phase.Relocated)
	if adopt(t, o); !tried {
		t.Error("no adoption was tried beside the sweep")
	}
}

func TestAdoptRefusals(t *testing.T) {
	c := redistest.Shared(t).Client()
	p := parse(t, testPlan)
	for _, o := range []sweep.AdoptOptions{
		{Client: c, Plan: p, Rule: "nosuch", Reads: sweep.TargetName, Leave: phase.Legacy},
		{Client: c, Plan: p, Rule: "things", Leave: phase.Legacy},
		{Client: c, Plan: p, Rule: "things", Reads: sweep.TargetName, Leave: phase.Dual},
		{Client: c, Plan: p, Rule: "things", Reads: sweep.TargetName},
		{Plan: p, Rule: "things", Reads: sweep.TargetName, Leave: phase.Legacy},
	} {
		if _, err := sweep.Adopt(t.Context(), o); !errors.Is(err, sweep.ErrOptions) {
			t.Errorf("%+v: got %v, want ErrOptions", o, err)
		}
	}
}

// Replicas have it before it is done, or a note says that they do not.
func TestAdoptWaitsForReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	replica := server.Replica()
	c := server.Client()
	noError(t, c.Set(t.Context(), "cw:test:thing:1", "x", 0).Err())
	o := sweep.AdoptOptions{Client: c, Plan: parse(t, testPlan), Rule: "things", Reads: sweep.TargetName, Leave: phase.Legacy, Execute: true}
	if r := adopt(t, o); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
	if got := replica.Client().Get(t.Context(), "thing:1").Val(); got != "x" {
		t.Errorf("the replica has %q", got)
	}
	replica.Pause()
	defer replica.Continue()
	o.ReplicaTimeout = 50 * time.Millisecond
	if r := adopt(t, o); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "0 of 1 connected replicas") {
		t.Errorf("notes %q", r.Notes)
	}
}

func adopt(t testing.TB, o sweep.AdoptOptions) sweep.AdoptResult {
	t.Helper()
	r, err := sweep.Adopt(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// values are all strings of a database but for rekey's own.
func values(t testing.TB, c *redis.Client) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, name := range c.Keys(t.Context(), "*").Val() {
		if !strings.HasPrefix(name, "rekey:test:") {
			out[name] = c.Get(t.Context(), name).Val()
		}
	}
	return out
}

func sameValues(a, b map[string]string) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
