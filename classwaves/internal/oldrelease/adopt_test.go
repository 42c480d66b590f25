package oldrelease_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/internal/oldrelease"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/internal/cli"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

const (
	adoptSeeds  = 1
	opsPerStage = 400
)

// halfDone is what the old release has left behind on a server, and what could be seen of it.
type halfDone struct {
	server   *redistest.Server
	universe []string
	sets     map[string]bool
	// byTarget is what a process at 11 or at 10 sees, byLegacy what one at 00 sees.
	byTarget, byLegacy map[string]seen
	// alone are the keys with the prefixed name only, differ those with two names of different value or
	// type or that expire more than a second apart.
	alone, differ []string
}

// leaveBehind lets a mixed fleet go through the rollout to a state, under random traffic, and stops it.
func leaveBehind(t *testing.T, seed uint64, at oldrelease.State) *halfDone {
	t.Helper()
	server := redistest.Shared(t)
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { must(t, rdb.Close()) }()
	stages := rollout[oldrelease.DualWrite]
	if at == oldrelease.PrefixedOnly {
		stages = slices.Concat(stages, rollout[oldrelease.PrefixedOnly])
	}
	for _, states := range stages {
		var fleet []*oldrelease.Process
		for _, s := range states {
			fleet = append(fleet, oldrelease.New(rdb, environment, s))
		}
		traffic(t, rng, fleet, opsPerStage)
	}

	h := &halfDone{server: server, byTarget: map[string]seen{}, byLegacy: map[string]seen{}}
	h.universe, h.sets = universe(t)
	ctx := t.Context()
	names := oldrelease.New(rdb, environment, at)
	prefixed, prefixedSets := make([]string, len(h.universe)), make(map[string]bool)
	for i, key := range h.universe {
		prefixed[i] = names.Prefixed(key)
		prefixedSets[prefixed[i]] = h.sets[key]
	}
	legacies, targets := look(ctx, t, rdb, h.universe, h.sets), look(ctx, t, rdb, prefixed, prefixedSets)
	for i, key := range h.universe {
		legacy, target := legacies[key], targets[prefixed[i]]
		h.byLegacy[key] = legacy
		h.byTarget[key] = target
		none := seen{}
		switch {
		case target == none:
			h.byTarget[key] = legacy
		case legacy == none:
			h.alone = append(h.alone, key)
		case legacy.value != target.value || max(legacy.expires-target.expires, target.expires-legacy.expires) > 1000:
			h.differ = append(h.differ, key)
		}
		h.checkRules(t, names, key)
	}
	return h
}

// checkRules holds what is recorded against the old release's own reads.
func (h *halfDone) checkRules(t *testing.T, p *oldrelease.Process, key string) {
	t.Helper()
	want := h.byTarget[key]
	if h.sets[key] {
		got, err := p.Members(t.Context(), key)
		must(t, err)
		slices.Sort(got)
		if strings.Join(got, ",") != want.value {
			t.Fatalf("%s: the old release shows %q, recorded is %q", key, got, want.value)
		}
		return
	}
	got, _, err := p.Get(t.Context(), key)
	must(t, err)
	if got != want.value {
		t.Fatalf("%s: the old release shows %q, recorded is %q", key, got, want.value)
	}
}

// adoption is what `rekey adopt --json` says.
type adoption struct {
	Dry      bool `json:"dry_run"`
	Differ   int
	Moved    int
	Replaced int
	Dropped  int
	Examples []struct{ Legacy string }
}

// adopt runs `rekey adopt` for every mirror rule and returns the sums.
func (h *halfDone) adopt(t *testing.T, want int, words ...string) (sum adoption) {
	t.Helper()
	p, err := classwaves.Plan(environment)
	must(t, err)
	for _, r := range p.Rules {
		if r.Strategy != phase.Mirror {
			continue
		}
		args := append([]string{"adopt", r.Name, "-f", "../../rekey.yaml", "--env", environment, "--redis", h.server.URL(), "--json", "--show-keys", "--examples", "10000"}, words...)
		code, stdout, stderr := rekeyCommand(t, args...)
		if code != want {
			t.Fatalf("rekey %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
		if code != 0 {
			continue
		}
		var out adoption
		must(t, json.Unmarshal([]byte(stdout), &out))
		sum.Dry = out.Dry
		sum.Differ += out.Differ
		sum.Moved += out.Moved
		sum.Replaced += out.Replaced
		sum.Dropped += out.Dropped
		sum.Examples = append(sum.Examples, out.Examples...)
	}
	return sum
}

// rekeyCommand runs the command line in an empty environment.
func rekeyCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	nothing := func(string) (string, bool) { return "", false }
	code = cli.Run(t.Context(), args, strings.NewReader(""), &out, &errs, nothing)
	return code, out.String(), errs.String()
}

// wrong are the keys that a client sees otherwise than they were, with up to three of them told.
func (h *halfDone) wrong(t *testing.T, rdb *redis.Client, want map[string]seen) (keys []string) {
	t.Helper()
	now := look(t.Context(), t, rdb, h.universe, h.sets)
	for _, key := range h.universe {
		if now[key] != want[key] {
			keys = append(keys, fmt.Sprintf("%s: %+v, was %+v", key, now[key], want[key]))
		}
	}
	return keys
}

// TestAdopt: what processes at 11 and at 10 have left behind is adopted, and walked through every phase,
// there and back, and at every moment each key is to every process of the new fleet what it was to a user
// of the old release: value, members and expiry. What a user could not see does not come up either. The
// differences are listed, all of them and no other.
func TestAdopt(t *testing.T) {
	for _, at := range []oldrelease.State{oldrelease.DualWrite, oldrelease.PrefixedOnly} {
		for _, leave := range []phase.Phase{phase.Legacy, phase.Prefixed} {
			for seed := range uint64(adoptSeeds) {
				t.Run(fmt.Sprintf("left at %v, adopted to %v, seed %d", at, leave, seed), func(t *testing.T) {
					h := leaveBehind(t, seed, at)
					dry := h.adopt(t, 0, "--reads", "target", "--leave", leave.String())
					listed := make(map[string]bool)
					for _, e := range dry.Examples {
						listed[strings.Trim(e.Legacy, `"`)] = true
					}
					for _, key := range h.differ {
						if !listed[key] {
							t.Errorf("%s differs and is not listed", key)
						}
					}
					if len(listed) != len(h.differ) || dry.Differ != len(h.differ) || !dry.Dry {
						t.Errorf("%d keys are listed and %d counted, %d differ", len(listed), dry.Differ, len(h.differ))
					}
					if len(h.differ) == 0 || len(h.alone) == 0 && at == oldrelease.PrefixedOnly {
						t.Fatalf("the traffic left %d keys that differ and %d with the prefixed name only: that proves nothing", len(h.differ), len(h.alone))
					}
					h.stopped(t)
					done := h.adopt(t, 0, "--reads", "target", "--leave", leave.String(), "--execute")
					if done.Differ != dry.Differ || done.Moved != dry.Moved || done.Replaced != dry.Replaced || done.Dropped != dry.Dropped {
						t.Errorf("the dry run said %+v, done was %+v", dry, done)
					}
					t.Logf("%d keys differed; %d moved, %d replaced, %d dropped", done.Differ, done.Moved, done.Replaced, done.Dropped)

					fleet := phasefleet.StartAt(t, h.server, environment, 2, leave)
					check := func() {
						for i, m := range fleet.Members {
							if bad := h.wrong(t, m.Client, h.byTarget); len(bad) > 0 {
								t.Fatalf("%v, process %d: %d keys are not what they were:\n%s", fleet.Phase(phase.Mirror), i, len(bad), strings.Join(bad[:min(3, len(bad))], "\n"))
							}
						}
					}
					check()
					fleet.Between = check
					if leave == phase.Legacy {
						fleet.Walk(phase.Mirror, phase.Prefixed)
					}
					fleet.Walk(phase.Mirror, phase.Legacy)
				})
			}
		}
	}
}

// TestAdoptAfterRollback: a fleet that went to 10 and was put back to 00 reads legacy names. All that its
// users see stays; what is under prefixed names only is kept beside it, and nothing else comes up.
func TestAdoptAfterRollback(t *testing.T) {
	for seed := range uint64(adoptSeeds) {
		h := leaveBehind(t, seed, oldrelease.PrefixedOnly)
		h.stopped(t)
		done := h.adopt(t, 0, "--reads", "legacy", "--leave", "legacy", "--execute")
		if done.Moved != len(h.alone) || done.Differ != len(h.differ) {
			t.Errorf("seed %d: %+v, want %d moved, %d that differ", seed, done, len(h.alone), len(h.differ))
		}
		want := h.byLegacy
		for _, key := range h.alone {
			want[key] = h.byTarget[key]
		}
		fleet := phasefleet.Start(t, h.server, environment, 2)
		fleet.Between = func() {
			if bad := h.wrong(t, fleet.Members[0].Client, want); len(bad) > 0 {
				t.Fatalf("seed %d, %v: %d keys are not what they were:\n%s", seed, fleet.Phase(phase.Mirror), len(bad), bad[0])
			}
		}
		fleet.Between()
		fleet.Walk(phase.Mirror, phase.Prefixed)
	}
}

// TestAdoptionIsNeeded: the same data without an adoption, or with one that takes the wrong name, is not
// what users saw. That is what TestAdopt would find.
func TestAdoptionIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name string
		at   oldrelease.State
		do   func(t *testing.T, h *halfDone)
	}{
		{"purged in place of adopted", oldrelease.PrefixedOnly, func(t *testing.T, h *halfDone) {
			if code, _, stderr := rekeyCommand(t, "purge", "--all", "--assume-phase", "legacy", "--execute", "-f", "../../rekey.yaml", "--env", environment, "--redis", h.server.URL()); code != 0 {
				t.Fatal(stderr)
			}
		}},
		{"left as it is", oldrelease.PrefixedOnly, func(*testing.T, *halfDone) {}},
		{"left as it is, at 11", oldrelease.DualWrite, func(*testing.T, *halfDone) {}},
		{"adopted by the other name", oldrelease.PrefixedOnly, func(t *testing.T, h *halfDone) {
			h.stopped(t)
			h.adopt(t, 0, "--reads", "legacy", "--execute")
		}},
	} {
		h := leaveBehind(t, 1, c.at)
		c.do(t, h)
		fleet := phasefleet.Start(t, h.server, environment, 1)
		bad := h.wrong(t, fleet.Members[0].Client, h.byTarget)
		t.Logf("%s: %d of %d keys are not what a user saw", c.name, len(bad), len(h.universe))
		if len(bad) == 0 {
			t.Errorf("%s: every key is what a user saw; TestAdopt would find nothing either", c.name)
		}
	}
}

// A writer that is still connected holds an adoption up.
func TestAdoptWantsTheOldReleaseStopped(t *testing.T) {
	h := leaveBehind(t, 1, oldrelease.DualWrite)
	must(t, h.server.Client().Ping(t.Context()).Err()) // stays connected
	h.adopt(t, 3, "--reads", "target", "--execute")
}

// stopped waits until the server has seen the old release's connections end. The old release has no keys
// of the rule that is asked about.
func (h *halfDone) stopped(t *testing.T) {
	t.Helper()
	redistest.WaitFor(t, 5*time.Second, func() bool {
		code, _, _ := rekeyCommand(t, "adopt", "csrf_previous", "--reads", "target", "--execute", "-f", "../../rekey.yaml", "--env", environment, "--redis", h.server.URL())
		return code == 0
	})
}
