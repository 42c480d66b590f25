package fleettest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// TestRollout has four servers with --fleet walked to the new names by rekey run and back by rekey
// rollback, under the load generator, and kills one on the way up, while its rules have two names. A
// supervisor starts another one in its place at once. What the dead server was at is broken off; nothing
// else is noticed by anybody.
//
// A walk goes past a dead server when its lease has run out, or at once when the operator names it.
// Longer tests go up and down again and again, with another server killed each time, and take both ways
// in turn.
func TestRollout(t *testing.T) {
	f := newFleet(t)
	addTeachers(t, f.database, 4)
	var servers []*process
	for range size {
		servers = append(servers, f.start(nil, "--fleet"))
	}
	f.open(servers...)
	f.reached(everywhere(phase.Legacy))

	total, began := walkTime(t, rolloutTime), time.Now()
	g, end := f.play(load.Config{Students: 3, Pause: 150 * time.Millisecond, Probes: probe(20 * time.Second)})
	f.stay(g, began)
	kills := 0
	for round := 0; round == 0 || time.Since(began) < total; round++ {
		run := f.operator(rollout...)
		dead := f.kill(round%size, phase.Dual)
		kills++
		if round%2 == 0 {
			run.interrupt(t)
			run = f.operator(append(rollout, "--forget", f.instance(dead))...)
		}
		f.well(run)
		f.reached(everywhere(phase.Prefixed))
		f.stay(g, time.Now())
		if legacy, target := f.names(); legacy != 0 || target == 0 {
			t.Errorf("after rekey run there are %d legacy keys and %d target keys, want none and some", legacy, target)
		}
		f.well(f.operator("rollback"))
		f.reached(everywhere(phase.Legacy))
		f.stay(g, time.Now())
		if legacy, _ := f.names(); legacy == 0 {
			t.Error("after rekey rollback there is no legacy key")
		}
	}
	f.untroubled()
	insured := f.insured()
	r := end()
	show(t, &r)
	excuse(t, &r, load.LimitExceeded, insured, "hits were decided without Redis")
	excuse(t, &r, load.Broken, f.balancer.cut.Load(), "a killed server had not answered")
	t.Logf("up and down %d times with %d kills, which broke %d exchanges off, in %v", kills, kills, f.balancer.cut.Load(), time.Since(began).Round(time.Second))
	if n := r.Violated(); n != 0 {
		t.Errorf("%d violations, want none", n)
	}
	if r.Spent == 0 || r.Logins < 10 || r.Joins < 20 {
		t.Errorf("%d limits spent, %d logins, %d joins: that is no load", r.Spent, r.Logins, r.Joins)
	}
}

// everywhere is a fleet whose rules are all in one phase.
func everywhere(p phase.Phase) func(plan.Rule) phase.Phase {
	return func(plan.Rule) phase.Phase { return p }
}

// rollout is what the operator types, with a soak that a test can wait for.
var rollout = []string{"run", "--yes", "--soak", "1s", "--purge"}

// well waits for the end of a command, which must be well.
func (f *fleet) well(c *command) {
	f.t.Helper()
	if _, err := c.wait(); err != nil {
		f.t.Fatal(err)
	}
}

// instance is a server's id in the fleet's records.
func (f *fleet) instance(p *process) string {
	f.t.Helper()
	out, err := f.rekey("status", "--instances", "0")
	if err != nil {
		f.t.Fatal(err)
	}
	var status struct {
		Instances []struct {
			ID  string
			PID int
		}
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		f.t.Fatal(err)
	}
	for _, in := range status.Instances {
		if in.PID == p.cmd.Process.Pid {
			return in.ID
		}
	}
	f.t.Fatalf("rekey status does not show server %d:\n%s", p.n, out)
	return ""
}

// kill kills a server when it has its sessions in a phase, and starts another one in its place.
func (f *fleet) kill(n int, at phase.Phase) (dead *process) {
	f.t.Helper()
	victim := f.processes[n]
	err := poll(stepWithin, "the sessions come to the phase of the kill", func() (bool, error) {
		m, err := victim.metrics()
		return m.Phases["secure_sessions"] == at.String(), err
	})
	if err != nil {
		f.t.Fatalf("server %d: %v\n%s", victim.n, err, victim.tail())
	}
	victim.kill(f.t)
	other := f.start(nil, "--fleet")
	f.balancer.replace(victim, other)
	f.processes[n] = other
	return victim
}
