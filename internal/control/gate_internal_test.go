package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// TestVerifyGoesStale: a verdict of verify counts for a day, that of a backfill for as long as the phase lasts.
func TestVerifyGoesStale(t *testing.T) {
	p, err := plan.Parse("rekey.yaml", []byte("version: 1\nenvironment: test\nrules:\n  - {name: things, legacy: \"thing:{id}\", target: \"cw:{env}:thing:{id}\"}\n"),
		func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	store := fleet.NewStore(p, nil)
	now := time.Unix(1_800_000_000, 0)
	target := fleet.Target{Phase: phase.Dual, Epoch: "e", Mark: fleet.Mark{Gen: 1, Seq: 1}}
	for _, c := range []struct {
		kind  sweep.Kind
		gate  phase.Gate
		age   time.Duration
		stale bool
	}{
		{sweep.Verify, phase.Verified, 23 * time.Hour, false}, {sweep.Verify, phase.Verified, 25 * time.Hour, true},
		{sweep.Backfill, phase.Copied, 25 * time.Hour, false},
	} {
		encode := func(v any) string {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		ended := now.Add(-c.age)
		s := &snapshot{now: now.UnixMicro(), server: identity{runID: "r", replicationID: "h"}, evidence: map[string]string{
			store.Keys().Sweep(reachedKind, "things"): encode(reachedRecord{Epoch: "e", Mark: target.Mark, RunID: "r", At: ended.Add(-time.Hour).UnixMicro()}),
			store.Keys().Sweep(c.kind.String(), "things"): encode(map[string]any{"verdict": sweep.Verdict{
				Kind: c.kind, Rule: "things", RuleHash: p.Hash(0), Phase: phase.Dual, Started: ended.Add(-time.Minute), Ended: ended, RunID: "r", ReplicationID: "h",
				Gates: []sweep.GateVerdict{{Gate: c.gate, Holds: true}},
			}}),
		}}
		holds, why := gateRules{plan: p, keys: store.Keys()}.proven(s, 0, target, c.gate)
		if holds == c.stale || c.stale && !strings.Contains(why, "ago") {
			t.Errorf("%v of %v ago: holds %v, %q", c.kind, c.age, holds, why)
		}
	}
}
