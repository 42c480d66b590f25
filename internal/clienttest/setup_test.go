package clienttest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// testPlan has one rule of each strategy, so that a key's prefix chooses the strategy.
const testPlan = `
version: 1
environment: test
server: {evicts: false}
rules:
  - {name: mirror, legacy: "mi:{id...}", target: "cw:{env}:mi:{id...}", strategy: mirror}
  - {name: move, legacy: "mo:{id...}", target: "cw:{env}:mo:{id...}", strategy: move}
`

// stage is where a test runs: one phase of one strategy.
type stage struct {
	strategy phase.Strategy
	phase    phase.Phase
}

func (s stage) String() string { return s.strategy.String() + "/" + s.phase.String() }

func (s stage) rule() string { return s.strategy.String() }

// key is the application's name of a key in the stage, other what the target name is.
func (s stage) key(id string) string {
	if s.strategy == phase.Mirror {
		return "mi:" + id
	}
	return "mo:" + id
}

func (s stage) target(id string) string { return "cw:test:" + s.key(id) }

func (s stage) phases() map[string]phase.Phase { return map[string]phase.Phase{s.rule(): s.phase} }

// stages are all phases of both strategies.
func stages() []stage {
	var all []stage
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, p := range phase.Of(s) {
			all = append(all, stage{s, p})
		}
	}
	return all
}

// neighbours are the pairs of stages that may stand side by side, each in both orders.
func neighbours() [][2]stage {
	var all [][2]stage
	for _, a := range stages() {
		for _, p := range phase.Of(a.strategy) {
			if phase.Beside(a.strategy, a.phase, p) {
				all = append(all, [2]stage{a, {a.strategy, p}})
			}
		}
	}
	return all
}

// open makes an instance that ends with the test.
func open(t testing.TB, opts ...rekey.Option) *rekey.Rekey {
	t.Helper()
	p, err := plan.Parse("test.yaml", []byte(testPlan), os.LookupEnv)
	must(t, err)
	r, err := rekey.Open(t.Context(), p, opts...)
	must(t, err)
	t.Cleanup(func() {
		for rule, s := range r.Stats().Rules {
			if s.Divergences != 0 || s.Refused != 0 {
				t.Errorf("rule %s: %d divergences, %d refused, want none", rule, s.Divergences, s.Refused)
			}
		}
		must(t, r.Close())
	})
	return r
}

// in opens an instance pinned to a stage.
func in(t testing.TB, s stage) *rekey.Rekey {
	t.Helper()
	return open(t, rekey.WithPhases(s.phases()))
}

// goRedis makes a go-redis client over an instance. A change may adjust its options. Nothing is
// tried again by the client: an error must show.
func goRedis(t testing.TB, r *rekey.Rekey, server *redistest.Server, changes ...func(*redis.Options)) *redis.Client {
	t.Helper()
	opt := &redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1}
	for _, change := range changes {
		change(opt)
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() }) // a test may have closed it
	return rdb
}

// reached waits until an instance follows the phases and nothing of earlier ones is under way.
func reached(t testing.TB, r *rekey.Rekey, want map[string]phase.Phase) {
	t.Helper()
	redistest.WaitFor(t, 20*time.Second, func() bool {
		now := r.Phases()
		for rule, p := range want {
			if now[rule] != p {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, r.WaitReached(ctx))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares what came with what should have.
func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%q", any(got)), fmt.Sprintf("%q", any(want)); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// eventually polls; msg tells what does not come true.
func eventually(t testing.TB, msg string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20s", msg)
		}
		<-tick.C
	}
}
