package chaostest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// failover is a primary, a replica that has stopped to follow it, and an address that leads to either.
type failover struct {
	t       *testing.T
	primary *redistest.Server
	replica *redistest.Server
	follows *redistest.Link // by which the replica follows
	front   *redistest.Link // by which everybody else reaches the server
	plan    *plan.Plan
	bare    *redis.Client // of the primary, with the name of rekey's own
	app     *redis.Client // over an instance
}

// keysBehind is how many keys a rule has.
const keysBehind = 20

func newFailover(t *testing.T) *failover {
	t.Helper()
	f := &failover{t: t, primary: redistest.Start(t)}
	f.follows = redistest.SlowLink(t, f.primary.Addr())
	host, port, err := net.SplitHostPort(f.follows.Addr())
	if err != nil {
		t.Fatal(err)
	}
	f.replica = redistest.Start(t, redistest.WithConfig("replicaof "+host+" "+port))
	f.front = redistest.SlowLink(t, f.primary.Addr())
	path := filepath.Join(t.TempDir(), "rekey.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, planText, f.front.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.plan, err = plan.Load(path); err != nil {
		t.Fatal(err)
	}
	f.bare = f.primary.Client(func(o *redis.Options) { o.ClientName = fleet.ClientName })
	r, err := rekey.Open(t.Context(), f.plan, rekey.WithFleet(rekey.FleetConfig{Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	f.app = redis.NewClient(&redis.Options{Addr: f.front.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() { _ = f.app.Close(); _ = r.Close() }) // the test has looked at what counts
	redistest.WaitFor(t, time.Minute, func() bool { return f.replicas() == 1 })
	return f // whose replica has all of the data when it first acknowledges a WAIT
}

// replicas is how many are connected to the primary.
func (f *failover) replicas() int {
	f.t.Helper()
	info, err := f.bare.InfoMap(f.t.Context(), "replication").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	n, err := strconv.Atoi(info["Replication"]["connected_slaves"])
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// leaveBehind keeps from the replica what is done from now on. It is no replica to the primary any more, so
// nobody waits for it.
func (f *failover) leaveBehind() {
	f.t.Helper()
	f.follows.Refuse()
	f.follows.Cut()
	redistest.WaitFor(f.t, time.Minute, func() bool { return f.replicas() == 0 })
}

// promote makes the replica the server, and the primary nothing.
func (f *failover) promote() error {
	conn := f.replica.Conn()
	defer conn.Close() // an audit would take it for a stranger's
	if v := conn.Do("REPLICAOF", "NO", "ONE"); v.IsError() {
		return fmt.Errorf("promote the replica: %s", v.Str)
	}
	f.front.Redirect(f.replica.Addr())
	f.primary.Kill()
	return nil
}

// gateSteps is each step with a necessary gate, and what a sweep has to do there.
func gateSteps() (out []phase.Step) {
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		walk := phase.Walk(s)
		for i := range len(walk) - 1 {
			for _, pair := range [][2]phase.Phase{{walk[i], walk[i+1]}, {walk[i+1], walk[i]}} {
				if step, ok := phase.StepBetween(s, pair[0], pair[1]); ok && len(step.Gates) > 0 {
					out = append(out, step)
				}
			}
		}
	}
	return out
}

// TestFailoverBehindAGate: a gate is proven, and before the step is made a replica is promoted that has nothing of
// what the sweep did. The gate is proven again there, and no value is missed or seen again.
func TestFailoverBehindAGate(t *testing.T) {
	_, all := seconds(t)
	for _, step := range gateSteps() {
		if gate := step.Gates[0]; !all && gate != phase.Copied && gate != phase.Relocated {
			continue // one of each strategy in a short run
		}
		t.Run(fmt.Sprintf("%s from %s to %s", step.Strategy, step.From, step.To), func(t *testing.T) {
			f := newFailover(t)
			if proven := f.stepOver(step, func(*control.Controller) {}); proven < 2 {
				t.Errorf("the gate was proven %d times, want once for each server", proven)
			}
			if missed := f.missed(step); missed > 0 {
				t.Errorf("%d of %d keys are missed", missed, keysBehind)
			}
		})
	}
}

// TestFailoverBehindAGateIsAFault: the same with proofs that are taken for the new server's.
func TestFailoverBehindAGateIsAFault(t *testing.T) {
	step, ok := phase.StepBetween(phase.Mirror, phase.Dual, phase.Settled)
	if !ok {
		t.Fatal("there is no step from dual to settled")
	}
	f := newFailover(t)
	proven := f.stepOver(step, func(c *control.Controller) {
		client := f.replica.Client()
		targets, err := fleet.NewStore(f.plan, client).Targets(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		info, err := client.InfoMap(t.Context(), "server").Result()
		if err != nil {
			t.Error(err)
			return
		}
		reached, err := json.Marshal(map[string]any{
			"epoch": targets["mirror"].Epoch, "mark": targets["mirror"].Mark, "run_id": info["Server"]["run_id"], "at": 1,
		})
		if err != nil {
			t.Error(err)
			return
		}
		if err := client.Set(t.Context(), fleet.KeysOf(f.plan).Sweep("reached", "mirror"), reached, 0).Err(); err != nil {
			t.Error(err)
		}
		forge(t, client, f.plan, phase.Copied, phase.Dual)
	})
	if missed := f.missed(step); missed == 0 {
		t.Errorf("no key is missed, with a gate that was proven %d times", proven)
	}
}

// stepOver takes the rule of a step there, promotes the replica when the step's gate is proven, and makes the
// step. It counts how often the gate was proven.
func (f *failover) stepOver(step phase.Step, promoted func(*control.Controller)) (proven int) {
	t, ctx := f.t, f.t.Context()
	t.Helper()
	rule := ruleOf(step)
	for i := range keysBehind {
		if err := f.app.Set(ctx, fmt.Sprintf("%s:%d", rule, i), "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var c *control.Controller
	armed := false
	o := controlOptions()
	o.Patience, o.RemoveStrays = time.Minute, true
	o.Progress = func(e control.Event) {
		if !armed || e.Kind != control.Proven || e.Gate != step.Gates[0].String() {
			return
		}
		if proven++; proven > 1 {
			return
		}
		if err := f.promote(); err != nil {
			t.Error(err)
		}
		promoted(c)
	}
	c, err := control.Open(ctx, f.plan, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test is over
	walk := func(to phase.Phase) {
		t.Helper()
		if err := c.Walk(ctx, []control.Goal{{Rule: rule, To: to}}); err != nil {
			t.Fatal(err)
		}
	}
	if step.Back {
		walk(phase.Prefixed)
	}
	walk(step.From)
	if step.Gates[0] == phase.NoTarget { // what an earlier try left
		if err := f.bare.Set(ctx, "cw:test:"+rule+":0", "stale", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if step.Gates[0] == phase.NoStray {
		if err := f.bare.Set(ctx, rule+":stray", "stale", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.bare.Wait(ctx, 1, time.Minute).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas have followed: %v", n, err)
	}
	f.leaveBehind()
	armed = true
	walk(step.To)
	return proven
}

func ruleOf(step phase.Step) string {
	return map[phase.Strategy]string{phase.Mirror: "mirror", phase.Relocate: "move"}[step.Strategy]
}

// missed counts the keys whose value is not what was written.
func (f *failover) missed(step phase.Step) (n int) {
	f.t.Helper()
	rule, ctx := ruleOf(step), f.t.Context()
	var err error
	redistest.WaitFor(f.t, time.Minute, func() bool {
		err = f.app.Get(ctx, rule+":stray").Err()
		return err == nil || errors.Is(err, redis.Nil)
	})
	if err == nil {
		f.t.Error("a key is there that nobody wrote")
	}
	for i := range keysBehind {
		if v, err := f.app.Get(ctx, fmt.Sprintf("%s:%d", rule, i)).Result(); err != nil || v != "v" {
			n++
		}
	}
	return n
}
