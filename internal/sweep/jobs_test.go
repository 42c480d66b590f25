package sweep_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

func TestPurgeRemovesTargetsOnlyWhenTold(t *testing.T) {
	for _, c := range []struct {
		rule, prefix string
		phase        phase.Phase
		gate         bool
	}{
		{"things", "thing:", phase.Guard, true}, {"things", "thing:", phase.Legacy, false}, {"limits", "limit:", phase.Legacy, true},
	} {
		t.Run(c.rule+"/"+c.phase.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			legacy := fill(t, client, c.prefix)
			leftovers := fill(t, client, target(c.prefix))
			other := noise(t, client)
			o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: c.rule, Kind: sweep.Purge, Phase: c.phase, ClaimSharedLegacy: true} // the noise has names of prod

			before := keyspace(t, client)
			dry := run(t, o)
			if got, want := dry.Problems[sweep.Leftover], int64(len(leftovers)); got != want || dry.Changed != 0 {
				t.Errorf("dry run: got %d leftovers and %d changed, want %d and 0", got, dry.Changed, want)
			}
			untouched(t, client, before)
			mustNotHold(t, dry, phase.NoTarget, map[bool]string{true: "--execute", false: "does not prove"}[c.gate])

			o.Execute = true
			wet := run(t, o)
			if got, want := wet.Changed, int64(len(leftovers)); got != want {
				t.Errorf("got %d removed, want %d", got, want)
			}
			if n := client.Exists(t.Context(), leftovers...).Val(); n != 0 {
				t.Errorf("%d leftovers are still there", n)
			}
			if n := client.Exists(t.Context(), legacy...).Val(); n != int64(len(legacy)) {
				t.Errorf("%d legacy keys are there, want %d", n, len(legacy))
			}
			untouched(t, client, other)
			if c.gate {
				mustHold(t, wet, phase.NoTarget)
			}
		})
	}
}

func TestBackfillCopiesWhatIsMissing(t *testing.T) {
	for _, p := range []phase.Phase{phase.Dual, phase.Drain} {
		t.Run(p.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			legacy := fill(t, client, "thing:")
			want := keyspace(t, client)
			other := noise(t, client)
			do(t, client, "SET", "thing:newer", "old")
			do(t, client, "SET", target("thing:newer"), "written in drain")

			r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: p})
			if got := r.Changed; got != int64(len(legacy)) {
				t.Errorf("got %d copied, want %d", got, len(legacy))
			}
			for _, name := range legacy {
				if got := contents(t, client, target(name)); got != want[name] {
					t.Errorf("%q: got %.80q, want %.80q", target(name), got, want[name])
				}
			}
			if got := client.Get(t.Context(), target("thing:newer")).Val(); got != "written in drain" {
				t.Errorf("a target was overwritten with %q", got)
			}
			untouched(t, client, want)
			untouched(t, client, other)
			mustHold(t, r, phase.Copied)
		})
	}
}

func TestReverseMakesLegacyWhatTheTargetsAre(t *testing.T) {
	client := redistest.Shared(t).Client()
	targets := fill(t, client, target("thing:"))
	want := keyspace(t, client)
	other := noise(t, client)
	do(t, client, "SET", "thing:1", "what nobody reads")
	do(t, client, "SET", "thing:alone", "its target was evicted")

	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Reverse, Phase: phase.Dual})
	for _, name := range targets {
		if got := contents(t, client, strings.TrimPrefix(name, "cw:test:")); got != want[name] {
			t.Errorf("copy of %q: got %.80q, want %.80q", name, got, want[name])
		}
	}
	if got := client.Get(t.Context(), "thing:alone").Val(); got != "its target was evicted" {
		t.Errorf("a legacy key without target: got %q", got)
	}
	untouched(t, client, want)
	untouched(t, client, other)
	mustHold(t, r, phase.Reversed)
}

// TestMoveThereAndBack relocates and brings home: one name each, no value changed.
func TestMoveThereAndBack(t *testing.T) {
	client := redistest.Shared(t).Client()
	legacy := fill(t, client, "limit:")
	want := keyspace(t, client)
	other := noise(t, client)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "limits"}
	check := func(there, gone func(string) string) {
		t.Helper()
		for _, name := range legacy {
			if got := contents(t, client, there(name)); got != want[name] {
				t.Errorf("%q: got %.80q, want %.80q", there(name), got, want[name])
			}
			if client.Exists(t.Context(), gone(name)).Val() != 0 {
				t.Errorf("%q is still there", gone(name))
			}
		}
		untouched(t, client, other)
	}
	same := func(name string) string { return name }

	o.Kind, o.Phase = sweep.Relocate, phase.Move
	mustHold(t, run(t, o), phase.Relocated)
	check(target, same)

	o.Kind, o.Phase = sweep.Reverse, phase.Hold
	mustHold(t, run(t, o), phase.Returned)
	check(same, target)

	// Both names of one key: a stranger's doing. It is named and left.
	do(t, client, "SET", target("limit:1"), "a stranger's")
	r := run(t, o)
	if got := r.Problems[sweep.Double]; got != 1 {
		t.Errorf("got %d keys under both names, want 1", got)
	}
	mustNotHold(t, r, phase.Returned, "both names")
	if got := client.Get(t.Context(), "limit:1").Val(); got != "value of 1" {
		t.Errorf("the key's legacy copy is now %q", got)
	}
	o.Kind, o.Phase = sweep.Relocate, phase.Move
	mustNotHold(t, run(t, o), phase.Relocated, "both names")
}

func TestCleanupRemovesOnlyWhatHasATarget(t *testing.T) {
	for _, p := range []phase.Phase{phase.Drain, phase.Sealed} {
		t.Run(p.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			legacy := fill(t, client, "thing:")
			targets := fill(t, client, target("thing:"))
			do(t, client, "SET", "thing:stray\n{*}", "a stranger's")
			other := noise(t, client)
			o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: p}

			before := keyspace(t, client)
			dry := run(t, o)
			untouched(t, client, before)
			if got := dry.Problems[sweep.Remaining]; got != int64(len(legacy)) {
				t.Errorf("dry run: got %d remaining, want %d", got, len(legacy))
			}

			o.Execute = true
			wet := run(t, o)
			if n := client.Exists(t.Context(), legacy...).Val(); n != 0 {
				t.Errorf("%d legacy keys are still there", n)
			}
			if n := client.Exists(t.Context(), targets...).Val(); n != int64(len(targets)) {
				t.Errorf("%d targets are there, want %d", n, len(targets))
			}
			untouched(t, client, other)
			want := []sweep.Problem{{Class: sweep.Missing, Legacy: "thing:stray\n{*}", Target: target("thing:stray\n{*}"), Detail: wet.Examples[0].Detail}}
			if !slices.Equal(wet.Examples, want) {
				t.Errorf("got %+v, want the stray alone", wet.Examples)
			}
			mustNotHold(t, wet, phase.NoLegacy, "have no target")
			if got := client.Get(t.Context(), "thing:stray\n{*}").Val(); got != "a stranger's" {
				t.Errorf("the stray is now %q", got)
			}

			o.RemoveStrays = true
			if p == phase.Drain {
				if _, err := sweep.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "phase sealed") {
					t.Errorf("in drain a key without target is the only copy: got %v", err)
				}
				return
			}
			mustNotHold(t, wet, phase.NoStray, "`rekey cleanup things --remove-strays --execute`")
			last := run(t, o)
			mustHold(t, last, phase.NoStray)
			mustHold(t, last, phase.NoLegacy)
			if client.Exists(t.Context(), "thing:stray\n{*}").Val() != 0 {
				t.Error("the stray is still there")
			}
		})
	}
}

// TestStraysAreJudgedBeforeAnythingIsRemoved: going back from sealed wants no stray, and does not want cleanup done.
func TestStraysAreJudgedBeforeAnythingIsRemoved(t *testing.T) {
	client := redistest.Shared(t).Client()
	do(t, client, "SET", "thing:1", "v")
	do(t, client, "SET", target("thing:1"), "v")
	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed})
	mustHold(t, r, phase.NoStray)
	mustNotHold(t, r, phase.NoLegacy, "1 legacy keys exist")
}

func TestCleanupKeepsWhatWasUsed(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	do(t, client, "SET", "thing:1", "v")
	do(t, client, "SET", target("thing:1"), "v")
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Execute: true, MinIdle: time.Hour}
	r := run(t, o)
	if got := r.Problems[sweep.Busy]; got != 1 || r.Changed != 0 || client.Exists(t.Context(), "thing:1").Val() != 1 {
		t.Errorf("got %d busy, %d removed; want the key named and kept", got, r.Changed)
	}
	mustNotHold(t, r, phase.NoLegacy, "audit")

	do(t, client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
	if _, err := sweep.Run(t.Context(), o); !errors.Is(err, sweep.ErrIdleUnknown) {
		t.Errorf("under an LFU policy: got %v, want %v", err, sweep.ErrIdleUnknown)
	}
	o.MinIdle = 0
	mustHold(t, run(t, o), phase.NoLegacy)
}

// TestWhatIsGoneWasNotUsed: a write in sealed removes the legacy name, also between SCAN and the look at idle times. Nothing is
// left there that anybody could have used.
func TestWhatIsGoneWasNotUsed(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	for i := range 2000 {
		do(t, client, "SET", fmt.Sprint("thing:", i), "v")
		do(t, client, "SET", target(fmt.Sprint("thing:", i)), "v")
	}
	gone := sync.OnceFunc(func() {
		for i := range 2000 {
			do(t, client, "UNLINK", fmt.Sprint("thing:", i))
		}
	})
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Execute: true, MinIdle: time.Second, Page: 100}
	o.OnProgress = func(sweep.Progress) { gone() } // pages behind this one have come from SCAN
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		idle, err := client.ObjectIdleTime(t.Context(), "thing:1999").Result() // the last one that was written
		if err != nil {
			t.Fatal(err)
		}
		if idle > time.Second {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the key does not get idle")
		}
	}
	r := run(t, o)
	if got := r.Problems[sweep.Busy]; got != 0 || r.Matched <= r.Changed {
		t.Errorf("got %d busy, %d of %d removed by the sweep; want none busy, and some gone before it", got, r.Changed, r.Matched)
	}
	mustHold(t, r, phase.NoLegacy)
}

// TestControlKeysAreNobodys: a catch-all rule matches every name there is, and must not purge its own controller.
func TestControlKeysAreNobodys(t *testing.T) {
	everything := strings.NewReplacer("thing:{id...}", "{key...}", "cw:{env}:thing:{id...}", "cw:{env}:{key...}").Replace(
		"version: 1\nenvironment: test\nrules: [{name: all, legacy: \"thing:{id...}\", target: \"cw:{env}:thing:{id...}\", strategy: STRATEGY}]")
	for _, c := range []struct {
		strategy string
		kind     sweep.Kind
		phase    phase.Phase
	}{
		{"mirror", sweep.Purge, phase.Guard}, {"mirror", sweep.Backfill, phase.Dual}, {"mirror", sweep.Reverse, phase.Dual}, {"mirror", sweep.Verify, phase.Settled},
		{"mirror", sweep.Cleanup, phase.Sealed}, {"move", sweep.Relocate, phase.Move}, {"move", sweep.Reverse, phase.Hold}, {"move", sweep.Purge, phase.Legacy},
	} {
		t.Run(c.strategy+"/"+c.kind.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			for _, name := range []string{"rekey:test:fleet", "rekey:prod:fleet", "rekey:test:sweep:other:x", "cw:test:rekey:test:fleet", "cw:prod:x"} {
				do(t, client, "SET", name, "control")
			}
			before := keyspace(t, client)
			do(t, client, "SET", "a", "legacy")
			do(t, client, "SET", "cw:test:b", "target")
			r := run(t, sweep.Options{
				Client: client, Plan: parse(t, strings.ReplaceAll(everything, "STRATEGY", c.strategy)), Rule: "all", Kind: c.kind, Phase: c.phase,
				Execute: true, Repair: c.kind == sweep.Verify, RemoveStrays: c.kind == sweep.Cleanup,
			})
			untouched(t, client, before)
			if r.Matched == 0 {
				t.Error("the sweep found none of the rule's keys")
			}
			for name := range keyspace(t, client) {
				if _, ok := before[name]; !ok && !slices.Contains([]string{"a", "b", "cw:test:a", "cw:test:b"}, name) {
					t.Errorf("the sweep made %q", name)
				}
			}
		})
	}
}

// TestNeighboursUnderTheSameGlob: a glob cannot say that {id} has no colon, so it matches the other rule's names too.
func TestNeighboursUnderTheSameGlob(t *testing.T) {
	p := parse(t, `
version: 1
environment: test
rules:
  - {name: users, legacy: "user:{id}", target: "cw:{env}:user:{id}"}
  - {name: carts, legacy: "user:{id}:cart:{n}", target: "cw:{env}:user:{id}:cart:{n}"}
`)
	for _, c := range []struct {
		kind  sweep.Kind
		phase phase.Phase
	}{{sweep.Purge, phase.Guard}, {sweep.Backfill, phase.Dual}, {sweep.Reverse, phase.Dual}, {sweep.Cleanup, phase.Sealed}, {sweep.Verify, phase.Dual}} {
		client := redistest.Shared(t).Client()
		for _, name := range []string{"user:1:cart:1", "cw:test:user:1:cart:2", "user:2:cart:2", "cw:test:user:2:cart:2", "user:", "user:1:x"} {
			do(t, client, "SET", name, "neighbour")
		}
		before := keyspace(t, client)
		r := run(t, sweep.Options{Client: client, Plan: p, Rule: "users", Kind: c.kind, Phase: c.phase, Execute: true, Repair: c.kind == sweep.Verify})
		if after := keyspace(t, client); !maps.Equal(after, before) || r.Matched != 0 || r.Seen == 0 {
			t.Errorf("%v: got %v, %d of %d names taken for the rule's; want %v and none", c.kind, after, r.Matched, r.Seen, before)
		}
	}
}

func TestEveryDatabaseOfThePlanIsWalked(t *testing.T) {
	server := redistest.Shared(t)
	p := parse(t, testPlan+"databases: [3, 5]\n")
	clients := make(map[int]*redis.Client)
	for _, n := range []int{0, 3, 5} {
		clients[n] = server.Client(func(o *redis.Options) { o.DB = n })
		do(t, clients[n], "SET", "thing:1", "v")
	}
	r := run(t, sweep.Options{Client: clients[0], Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual})
	if r.Changed != 2 {
		t.Errorf("got %d copied, want one in each of the two databases", r.Changed)
	}
	for n, want := range map[int]int64{0: 0, 3: 1, 5: 1} {
		if got := clients[n].Exists(t.Context(), target("thing:1")).Val(); got != want {
			t.Errorf("database %d: got %d targets, want %d", n, got, want)
		}
	}
	if got := clients[3].Exists(t.Context(), "rekey:test:sweep:backfill:things").Val(); got != 1 {
		t.Error("the verdict is not in the plan's first database")
	}
}

func TestEmptyDatabase(t *testing.T) {
	for _, c := range []struct {
		rule  string
		kind  sweep.Kind
		phase phase.Phase
		gate  phase.Gate
	}{
		{"things", sweep.Purge, phase.Guard, phase.NoTarget}, {"things", sweep.Backfill, phase.Dual, phase.Copied},
		{"things", sweep.Verify, phase.Dual, phase.Verified}, {"things", sweep.Reverse, phase.Dual, phase.Reversed},
		{"things", sweep.Cleanup, phase.Sealed, phase.NoLegacy}, {"limits", sweep.Relocate, phase.Move, phase.Relocated},
	} {
		client := redistest.Shared(t).Client()
		r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: c.rule, Kind: c.kind, Phase: c.phase})
		mustHold(t, r, c.gate)
		if r.Matched != 0 || r.Changed != 0 || r.Found() != 0 {
			t.Errorf("%v of nothing: got %+v", c.kind, r)
		}
	}
}

func TestCount(t *testing.T) {
	client := redistest.Shared(t).Client()
	legacy := fill(t, client, "thing:")
	do(t, client, "SET", target("thing:1"), "v")
	do(t, client, "SET", "nobody", "v")
	do(t, client, "SET", "rekey:test:fleet", "v")
	got, err := sweep.Count(t.Context(), client, parse(t, testPlan))
	if err != nil {
		t.Fatal(err)
	}
	things := got.Rules[0]
	if things.Legacy != int64(len(legacy)) || things.Target != 1 || things.Types["stream"] != 1 || things.Types["zset"] != 3 || len(things.Uncopyable) != 0 {
		t.Errorf("things: got %+v", things)
	}
	if got.Unmatched != 1 || got.Control != 1 || !slices.Equal(got.Examples, []string{"nobody"}) {
		t.Errorf("got %d unmatched %q and %d control keys, want 1 and 1", got.Unmatched, got.Examples, got.Control)
	}
}
