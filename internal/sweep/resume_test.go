package sweep_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

const recordKey = "rekey:test:sweep:backfill:things"

// seedKeys writes many small keys.
func seedKeys(t testing.TB, c *redis.Client, prefix string, n int) {
	t.Helper()
	script := `for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, 'value of ' .. i) end return 1`
	if err := c.Eval(t.Context(), script, nil, prefix, n).Err(); err != nil {
		t.Fatal(err)
	}
}

// interrupt runs a sweep and stops it after some pages.
func interrupt(t testing.TB, o sweep.Options, pages int) (sweep.Result, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.OnProgress = func(sweep.Progress) {
		if pages--; pages <= 0 {
			cancel()
		}
	}
	r, err := sweep.Run(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the sweep stopped", err)
	}
	return r, err
}

func noted(r sweep.Result, text string) bool {
	return strings.Contains(strings.Join(r.Notes, "\n"), text)
}

// rawRecord is the record of the backfill as it is stored.
func rawRecord(t testing.TB, c *redis.Client) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(c.Get(t.Context(), recordKey).Val()), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// patchRecord changes the stored record: a lease that has run out, a checkpoint of another time.
func patchRecord(t testing.TB, c *redis.Client, change func(record map[string]any)) {
	t.Helper()
	r := rawRecord(t, c)
	change(r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, "SET", recordKey, text)
}

func TestInterruptedSweepGoesOn(t *testing.T) {
	const keys = 5000
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "thing:", keys)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Mark: "epoch/1/1"}
	first, err := interrupt(t, o, 30)
	if !strings.Contains(err.Error(), "it goes on from there") {
		t.Errorf("the error does not say how to go on: %v", err)
	}
	if raw := client.Get(t.Context(), recordKey).Val(); strings.Contains(raw, "thing:") {
		t.Errorf("the checkpoint holds names of keys: %s", raw)
	}
	pages := 0
	o.OnProgress = func(sweep.Progress) { pages++ }
	second := run(t, o)
	mustHold(t, second, phase.Copied)
	if !noted(second, "goes on from where it was interrupted") || second.Verdict.Resumed != 1 {
		t.Errorf("got notes %q, resumed %d", second.Notes, second.Verdict.Resumed)
	}
	rest := pages
	if first.Changed == 0 || second.Changed != keys {
		t.Errorf("got %d changed and %d in all, want %d in all", first.Changed, second.Changed, keys)
	}
	if n := len(client.Keys(t.Context(), target("thing:*")).Val()); n != keys {
		t.Errorf("%d targets, want %d", n, keys)
	}
	pages = 0
	again := run(t, o)
	if rest > pages-20 {
		t.Errorf("the second run took %d pages of %d: it began anew", rest, pages)
	}
	if again.Verdict.Resumed != 0 || !again.Verdict.Started.After(second.Verdict.Started) {
		t.Error("a sweep after one that has ended went on from something")
	}
}

// TestDoubtBeginsAnew: whatever the proof depends on, and has changed, begins the sweep anew, and the run says why.
func TestDoubtBeginsAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	client := server.Client()
	base := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Mark: "epoch/1/1"}
	for _, c := range []struct {
		name, says string
		assumed    bool
		change     func(o *sweep.Options)
	}{
		{"another plan", "another plan", false, func(o *sweep.Options) {
			o.Plan = parse(t, strings.Replace(testPlan, "cw:{env}:thing:", "cw:{env}:new:thing:", 1))
		}},
		{"another phase", "in phase dual", false, func(o *sweep.Options) { o.Phase = phase.Drain }},
		{"other words", "other words", false, func(o *sweep.Options) { o.TTLTolerance = time.Second }},
		{"a step", "has made a step", false, func(o *sweep.Options) { o.Mark = "epoch/1/2" }},
		{"nobody watches", "has made a step", false, func(o *sweep.Options) { o.Mark = "" }},
		{"a process with flags", "has entered a phase", true, func(*sweep.Options) {
			do(t, client, "HSET", "rekey:test:flags:things", "dual", time.Now().UnixMicro())
		}},
		{"age of a word", "only your word", true, func(*sweep.Options) {
			patchRecord(t, client, func(r map[string]any) {
				r["checkpoint"].(map[string]any)["saved"] = time.Now().Add(-2 * time.Hour).Format(time.RFC3339Nano)
			})
		}},
		{"a sweep of another phase", "a sweep ran in phase guard", true, func(o *sweep.Options) {
			other := *o
			other.Kind, other.Phase = sweep.Purge, phase.Guard
			run(t, other)
		}},
		{"asked for", "", false, func(o *sweep.Options) { o.Anew = true }},
		{"restart", "restarted", false, func(*sweep.Options) { server.Restart() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			do(t, client, "FLUSHALL")
			seedKeys(t, client, "thing:", 1200)
			o := base
			if c.assumed {
				o.Mark = ""
			}
			interrupt(t, o, 10)
			c.change(&o)
			r := run(t, o)
			if r.Verdict.Resumed != 0 || !noted(r, c.says) || c.says != "" && !noted(r, "begins anew") {
				t.Errorf("got resumed %d and notes %q, want %q", r.Verdict.Resumed, r.Notes, c.says)
			}
			if r.Matched < 1200 {
				t.Errorf("got %d keys, want all", r.Matched)
			}
		})
	}
}

// TestProblemsSurviveAnInterruption: a gate is not proven by forgetting what was found before.
func TestProblemsSurviveAnInterruption(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "thing:", 2000)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Execute: true, Page: 50, Mark: "epoch/1/1"}
	first, _ := interrupt(t, o, 20) // none of them has a target
	if first.Problems[sweep.Missing] == 0 {
		t.Fatal("nothing was found before the interruption")
	}
	for _, name := range client.Keys(t.Context(), "thing:*").Val() { // what is ahead is gone
		do(t, client, "DEL", name)
	}
	second := run(t, o)
	if second.Problems[sweep.Missing] < first.Problems[sweep.Missing] || !noted(second, "their keys are not named again") {
		t.Errorf("got %d problems and notes %q, want at least %d", second.Problems[sweep.Missing], second.Notes, first.Problems[sweep.Missing])
	}
	mustNotHold(t, second, phase.NoLegacy, "have no target")
	mustHold(t, run(t, o), phase.NoLegacy)
}

// TestOnlyOneOfAKind: a second sweep of the kind over the rule is refused while the first one lives, and a sweep of another
// kind or rule is not.
func TestOnlyOneOfAKind(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "thing:", 500)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Owner: "somebody@here"}
	tried := false
	o.OnProgress = func(sweep.Progress) {
		if tried {
			return
		}
		tried = true
		second := o
		second.OnProgress = nil
		// It waits as long as the lease could be that of a dead one, and the first one renews it meanwhile.
		_, err := sweep.Run(t.Context(), second)
		var held *sweep.LeaseError
		if !errors.As(err, &held) || held.Owner != "somebody@here" || !strings.Contains(err.Error(), "backfill of rule \"things\"") {
			t.Errorf("got %v, want the lease of the first", err)
		}
		second.Kind = sweep.Verify
		if _, err := sweep.Run(t.Context(), second); err != nil {
			t.Errorf("another kind: %v", err)
		}
	}
	mustHold(t, run(t, o), phase.Copied)
	if !tried {
		t.Error("no second sweep was tried")
	}
}

// TestTakenOverSweepStoresNothing: one whose lease ran out while it hung is fenced off, however late it wakes, and its
// connections are closed.
func TestTakenOverSweepStoresNothing(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "thing:", 2000)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50}
	var winner sweep.Result
	hung := false
	late := o
	late.OnProgress = func(p sweep.Progress) {
		if hung {
			return
		}
		hung = true
		redistest.WaitFor(t, 10*time.Second, func() bool {
			patchRecord(t, client, func(r map[string]any) { r["until"] = 1 })
			var err error
			winner, err = sweep.Run(t.Context(), o)
			return err == nil
		})
	}
	r, err := sweep.Run(t.Context(), late)
	if err == nil && r.Stored {
		t.Error("the sweep that lost its lease stored a verdict")
	}
	if err == nil {
		mustNotHold(t, r, phase.Copied, "another sweep")
	}
	mustHold(t, winner, phase.Copied)
	if v, ok := load(t, open(t, client), sweep.Backfill); !ok || !v.Started.Equal(winner.Verdict.Started) {
		t.Error("the winner's verdict is not the one that is stored")
	}
}

// A page that fails while the one behind it has begun must be done again, or its keys would be left out and the gate hold.
func TestFailedPageIsDoneAgain(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	const page = 20
	seedKeys(t, client, "thing:", 10*page)
	var inOrder []string // of SCAN, which goes the same way as the sweep
	for scan := client.Scan(t.Context(), 0, "thing:*", page).Iterator(); scan.Next(t.Context()); {
		inOrder = append(inOrder, scan.Val())
	}
	denied := inOrder[3*page]
	words := []any{"ACL", "SETUSER", "sweeper", "reset", "on", ">pw", "+@all", "~cw:*", "~rekey:*"}
	for _, name := range inOrder {
		if name != denied {
			words = append(words, "~"+name)
		}
	}
	do(t, client, words...)
	defer do(t, client, "ACL", "DELUSER", "sweeper")
	o := sweep.Options{
		Client: server.Client(func(o *redis.Options) { o.Username, o.Password = "sweeper", "pw" }),
		Plan:   parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: page, BigKeys: sweep.BigNow,
	}
	refused(t, o, "COPY", "NOPERM", "rekey plan --acl")

	do(t, client, "ACL", "SETUSER", "sweeper", "~*")
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	if r.Verdict.Resumed != 1 {
		t.Errorf("it went on %d times", r.Verdict.Resumed)
	}
	if client.Exists(t.Context(), target(denied)).Val() == 0 {
		t.Error("the key of the page that failed has no target, and the gate holds")
	}
}

// TestGoesOnFaster: what a sweep that copies nothing would do with big keys, which --unthrottled decides, makes it no other one.
func TestGoesOnFaster(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, target("thing:"), 1000)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Purge, Phase: phase.Guard, Execute: true, Page: 50}
	if _, err := interrupt(t, o, 5); err == nil {
		t.Fatal("the sweep was not interrupted")
	}
	o.BigKeys = sweep.BigNow
	if r := run(t, o); r.Verdict.Resumed != 1 {
		t.Errorf("resumed %d times, notes %q", r.Verdict.Resumed, r.Notes)
	}
}
