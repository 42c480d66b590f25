package sweep_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// trash is what lies in the trash of rule things.
func trash(t testing.TB, c *redis.Client) []string {
	t.Helper()
	return c.Keys(t.Context(), "rekey:test:trash:things:*").Val()
}

// TestTrashAndUndo: what cleanup puts aside is gone for everybody and comes back exactly as it was, type, value and expiry.
func TestTrashAndUndo(t *testing.T) {
	for _, p := range []phase.Phase{phase.Drain, phase.Sealed} {
		t.Run(p.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			legacy := fill(t, client, "thing:")
			do(t, client, "SET", "thing:soon", "v", "PXAT", time.Now().Add(time.Hour).UnixMilli())
			legacy = append(legacy, "thing:soon")
			for _, name := range legacy {
				do(t, client, "COPY", name, target(name))
			}
			before := keyspace(t, client)
			o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: p, Execute: true, Trash: 24 * time.Hour}
			r := run(t, o)
			mustHold(t, r, phase.NoLegacy)
			if r.Changed != int64(len(legacy)) {
				t.Errorf("got %d put aside, want %d", r.Changed, len(legacy))
			}
			if n := client.Exists(t.Context(), legacy...).Val(); n != 0 {
				t.Errorf("%d legacy names are still there", n)
			}
			for _, name := range trash(t, client) {
				left := client.PTTL(t.Context(), name).Val()
				most := 24 * time.Hour
				if strings.HasSuffix(name, ":thing:soon") {
					most = time.Hour
				}
				if left <= 0 || left > most {
					t.Errorf("%q lives %v in the trash, want no more than %v", name, left, most)
				}
			}
			// No rule matches what is in the trash: other sweeps leave it alone.
			aside := len(trash(t, client))
			if r := run(t, sweep.Options{Client: client, Plan: o.Plan, Rule: "things", Kind: sweep.Verify, Phase: phase.Sealed}); r.Found() != 0 {
				t.Errorf("verify found %v", r.Problems)
			}
			if n := len(trash(t, client)); n != aside || n != len(legacy) {
				t.Errorf("%d keys in the trash, want %d", n, len(legacy))
			}

			o.Trash, o.Undo, o.Execute = 0, true, false
			if dry := run(t, o); dry.Changed != 0 || dry.Problems[sweep.Remaining] != int64(len(legacy)) || client.Exists(t.Context(), legacy...).Val() != 0 {
				t.Errorf("a dry undo changed %d, would change %v", dry.Changed, dry.Problems)
			} else if ok, reason := dry.Verdict.Holds(phase.NoLegacy); ok || strings.Contains(reason, "were brought back") {
				t.Errorf("a dry undo says %q", reason)
			}
			o.Execute = true
			back := run(t, o)
			if back.Changed != int64(len(legacy)) || back.Found() != 0 {
				t.Errorf("got %d back and %v", back.Changed, back.Problems)
			}
			mustNotHold(t, back, phase.NoLegacy, "brought back")
			if after := keyspace(t, client); !maps.Equal(before, after) {
				t.Errorf("got %d keys that are not what they were", len(after))
				untouched(t, client, before)
			}
		})
	}
}

// TestUndoBringsNothingStaleBack: what was written, deleted or taken since stays in the trash and is named.
func TestUndoBringsNothingStaleBack(t *testing.T) {
	client := redistest.Shared(t).Client()
	for _, id := range []string{"same", "written", "deleted", "expires", "type", "taken", "members"} {
		for _, name := range []string{"thing:" + id, target("thing:" + id)} {
			if id == "members" {
				write(t, client, "hashtable", name)
			} else {
				do(t, client, "SET", name, "v")
			}
		}
	}
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Execute: true, Trash: time.Hour}
	run(t, o)
	do(t, client, "SET", target("thing:written"), "w")
	do(t, client, "DEL", target("thing:deleted"))
	do(t, client, "PEXPIRE", target("thing:expires"), 100_000)
	do(t, client, "DEL", target("thing:type"))
	do(t, client, "RPUSH", target("thing:type"), "v")
	do(t, client, "SET", "thing:taken", "a stranger's")
	do(t, client, "SADD", target("thing:members"), "one more")

	o.Trash, o.Undo = 0, true
	r := run(t, o)
	if r.Changed != 1 || r.Problems[sweep.Discarded] != 6 || len(trash(t, client)) != 6 {
		t.Errorf("got %d back, %v, %d in the trash", r.Changed, r.Examples, len(trash(t, client)))
	}
	if got := client.Keys(t.Context(), "thing:*").Val(); len(got) != 2 || client.Get(t.Context(), "thing:taken").Val() != "a stranger's" {
		t.Errorf("legacy names: %q", got)
	}
	// Where a write would leave a legacy name behind, none is brought back.
	o.Phase = phase.Prefixed
	if _, err := sweep.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("in prefixed: got %v", err)
	}
}
