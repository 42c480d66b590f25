package sweep_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// childVariable holds what a process of the test binary sweeps in place of running tests.
const childVariable = "REKEY_TEST_SWEEP"

// childSweep is a sweep in a process of its own.
type childSweep struct {
	Addr  string
	Kind  sweep.Kind
	Rule  string
	Phase phase.Phase

	Page      int
	Throttled bool
	Big       sweep.BigKeys
}

// sweepAsChild runs the sweep and returns the exit code: 0 where it came to its end and all its gates hold.
func sweepAsChild(text string) int {
	var c childSweep
	err := json.Unmarshal([]byte(text), &c)
	var p *plan.Plan
	if err == nil {
		p, err = plan.Parse("rekey.yaml", []byte(testPlan), func(string) (string, bool) { return "", false })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	client := redis.NewClient(&redis.Options{Addr: c.Addr})
	defer client.Close()
	r, err := sweep.Run(context.Background(), sweep.Options{
		Client: client, Plan: p, Rule: c.Rule, Kind: c.Kind, Phase: c.Phase, Execute: true,
		Page: c.Page, Throttled: c.Throttled, BigKeys: c.Big,
	})
	if err != nil || r.Found() > 0 {
		fmt.Fprintln(os.Stderr, err, r.Problems, r.Examples)
		return 1
	}
	fmt.Println(r.Verdict.Resumed)
	return 0
}

func (c childSweep) command(t testing.TB) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	return cmd
}

// killedAt starts the sweep and ends it with SIGKILL a while after it has begun; false where it was done before.
func (c childSweep) killedAt(t testing.TB, client *redis.Client, after time.Duration) bool {
	t.Helper()
	key := "rekey:test:sweep:" + c.Kind.String() + ":" + c.Rule
	before := client.Get(t.Context(), key).Val()
	cmd := c.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 20*time.Second, func() bool { return client.Get(t.Context(), key).Val() != before })
	time.Sleep(after) // a random moment is what this is about
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := cmd.Wait() != nil
	if killed {
		// Its lease would run out by itself.
		var record map[string]any
		if err := json.Unmarshal([]byte(client.Get(t.Context(), key).Val()), &record); err != nil {
			t.Fatal(err)
		}
		record["until"] = 1
		text, _ := json.Marshal(record) // it was just read
		do(t, client, "SET", key, text)
	}
	return killed
}

// TestKilledSweepsLoseNothing: a process that sweeps is killed at random moments beside writers that create, change, expire
// and delete the very keys, and started again each time. In the end its gate holds, nothing is lost, and verify finds no
// difference.
func TestKilledSweepsLoseNothing(t *testing.T) {
	t.Parallel()
	const still = 3000 // keys that nobody writes
	same := func(name string) string { return name }
	for _, c := range []struct {
		kind   sweep.Kind
		rule   string
		phase  phase.Phase
		before phase.Phase // in which the writers' data was made
		seed   func(testing.TB, *redis.Client)
		read   func(string) string
		gone   string // no such name in the end; "": both are there
	}{
		{sweep.Backfill, "things", phase.Dual, phase.Guard, func(t testing.TB, c *redis.Client) { seedKeys(t, c, "thing:still:", still) }, target, ""},
		{sweep.Reverse, "things", phase.Dual, phase.Drain, func(t testing.TB, c *redis.Client) { seedKeys(t, c, target("thing:still:"), still) }, same, ""},
		{sweep.Cleanup, "things", phase.Sealed, phase.Dual, func(t testing.TB, c *redis.Client) {
			seedKeys(t, c, "thing:still:", still)
			seedKeys(t, c, target("thing:still:"), still)
		}, target, "thing:*"},
		{sweep.Relocate, "limits", phase.Move, phase.Hold, func(t testing.TB, c *redis.Client) { seedKeys(t, c, "limit:still:", still) }, target, "limit:*"},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			server := redistest.Shared(t)
			client := server.Client()
			p := parse(t, testPlan)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 7))
			c.seed(t, client)
			app := serve(t, server, p, c.rule, c.before, seed, nil)
			redistest.WaitFor(t, 20*time.Second, func() bool { return app.writes.Load() > 500 })
			app.end()
			app = serve(t, server, p, c.rule, c.phase, seed+1, app.truth)

			child := childSweep{Addr: server.Addr(), Kind: c.kind, Rule: c.rule, Phase: c.phase, Page: 10}
			killed := 0
			for range killsPerSweep {
				if child.killedAt(t, client, time.Duration(random.IntN(250))*time.Millisecond) {
					killed++
				}
			}
			out, err := child.command(t).Output()
			if err != nil {
				t.Fatalf("the sweep that was let to its end: %v", err)
			}
			t.Logf("killed %d times, went on %s times", killed, strings.TrimSpace(string(out)))
			if killed == 0 {
				t.Error("every sweep was done before it was killed: the test shows nothing")
			}
			app.check(t, client, c.read)
			for i := range still {
				name := fmt.Sprintf("%sstill:%d", app.prefix, i+1)
				if got, want := client.Get(t.Context(), c.read(name)).Val(), fmt.Sprintf("value of %d", i+1); got != want {
					t.Fatalf("%q: got %q, want %q", c.read(name), got, want)
				}
			}
			if c.gone != "" {
				if all, _ := count(t, client, c.gone, same); all != 0 {
					t.Errorf("%d names match %s", all, c.gone)
				}
			}
			if r := run(t, sweep.Options{Client: client, Plan: p, Rule: c.rule, Kind: sweep.Verify, Phase: c.phase}); r.Found() != 0 {
				t.Errorf("verify found %v: %+v", r.Problems, r.Examples)
			}
		})
	}
}
