package sweep_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
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
	MinIdle   time.Duration
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
		Page: c.Page, Throttled: c.Throttled, BigKeys: c.Big, MinIdle: c.MinIdle,
	})
	if err != nil || r.Found() > 0 {
		fmt.Fprintln(os.Stderr, err, r.Problems, r.Examples)
		return 1
	}
	fmt.Println(r.Verdict.Resumed)
	return 0
}

func (c childSweep) record() string { return "rekey:test:sweep:" + c.Kind.String() + ":" + c.Rule }

// child is a process that sweeps.
type child struct {
	cmd    *exec.Cmd
	exited <-chan struct{}
	out    strings.Builder
	said   strings.Builder
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

func (c childSweep) start(t testing.TB) *child {
	t.Helper()
	p := &child{cmd: c.command(t)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.said
	var err error
	if p.exited, err = redistest.Spawn(p.cmd); err != nil {
		t.Fatal(err)
	}
	return p
}

// ended waits for the process, and fails the test where it ended with an error of its own.
func (p *child) ended(t testing.TB) (killed bool) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		t.Fatal("the sweep does not end")
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true
	}
	if !p.cmd.ProcessState.Success() {
		t.Fatalf("the sweep: %v: %s", p.cmd.ProcessState, p.said.String())
	}
	return false
}

// moment is when a sweep is killed, by how far it has come: its record was written so many times, and then it has asked for
// so many pages more. Where the page at work is by then nobody knows.
type moment struct{ records, pages int }

// killedAt starts the sweep and ends it with SIGKILL at the moment; false where it was done before.
func (c childSweep) killedAt(t testing.TB, client *redis.Client, at moment) bool {
	t.Helper()
	sub := client.Subscribe(t.Context(), "__keyspace@0__:"+c.record())
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	writes := sub.Channel()
	p := c.start(t)
	for running := true; running && at.records > 0; {
		select {
		case <-writes:
			at.records--
		case <-p.exited:
			running = false
		case <-time.After(time.Minute):
			t.Fatal("the sweep does not go on")
		}
	}
	pages := func() int64 { // nobody else scans
		_, rest, _ := strings.Cut(client.Info(t.Context(), "commandstats").Val(), "cmdstat_scan:calls=")
		text, _, _ := strings.Cut(rest, ",")
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	until := pages() + int64(at.pages)
	for running := true; running && pages() < until; {
		select {
		case <-p.exited:
			running = false
		default:
		}
	}
	_ = p.cmd.Process.Kill() // it may have ended
	if !p.ended(t) {
		return false
	}
	// Its lease would run out by itself.
	var record map[string]any
	if err := json.Unmarshal([]byte(client.Get(t.Context(), c.record()).Val()), &record); err != nil {
		t.Fatal(err)
	}
	record["until"] = 1
	text, _ := json.Marshal(record) // it was just read
	do(t, client, "SET", c.record(), text)
	return true
}

// kills is how often each sweep is killed before it may end.
func kills(t testing.TB) int {
	t.Helper()
	text := os.Getenv("REKEY_SWEEP_KILLS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("REKEY_SWEEP_KILLS=%q is no number of kills", text)
	}
	return n
}

// TestKilledSweepsLoseNothing: a process that sweeps is killed with -9 at random moments beside writers that create, change,
// expire and delete the very keys, and started again each time. In the end its gate holds, nothing is lost, and verify finds
// no difference. A sweep is killed twice, or as often as REKEY_SWEEP_KILLS says.
func TestKilledSweepsLoseNothing(t *testing.T) {
	t.Parallel()
	n := kills(t)
	still := 800 * (n + 1) // keys that nobody writes; a checkpoint is written every 200 ms
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
			server := redistest.Shared(t, redistest.WithConfig("notify-keyspace-events K$"))
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

			sweeper := childSweep{Addr: server.Addr(), Kind: c.kind, Rule: c.rule, Phase: c.phase, Page: 4}
			killed, tries := 0, 0
			for ; killed < n && tries < 3*n; tries++ {
				// Every other sweep has written down how far it is, and is killed soon after.
				at := moment{1, random.IntN(60)}
				if tries%2 == 1 {
					at = moment{2 + random.IntN(2), random.IntN(3)}
				}
				if sweeper.killedAt(t, client, at) {
					killed++
				}
			}
			sweeper.Page = 0
			last := sweeper.start(t)
			last.ended(t)
			t.Logf("killed %d times of %d, went on %s times, %d writes beside", killed, tries, strings.TrimSpace(last.out.String()), app.writes.Load())
			if killed < n {
				t.Errorf("%d sweeps of %d were done before they were killed", tries-killed, tries)
			}
			app.check(t, client, c.read)
			lost := 0
			for from := 1; from <= still; from += 1000 {
				var names []string
				for i := from; i < from+1000 && i <= still; i++ {
					names = append(names, c.read(fmt.Sprintf("%sstill:%d", app.prefix, i)))
				}
				for i, got := range client.MGet(t.Context(), names...).Val() {
					if want := fmt.Sprintf("value of %d", from+i); got != want {
						lost++
						t.Logf("%q: got %v, want %q", names[i], got, want)
					}
				}
			}
			if lost > 0 {
				t.Errorf("%d keys of %d are lost", lost, still)
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
