package chaostest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

const (
	secondsVariable = "REKEY_CHAOS_SECONDS" // how long TestChaos takes at least, and failovers behind all gates
	seedVariable    = "REKEY_CHAOS_SEED"
	// patience is how much longer a run may take to see what it is to see.
	patience = 2 * time.Minute
)

// TestChaos walks a fleet of processes up and down while everything dies, stops and comes back.
func TestChaos(t *testing.T) {
	long, asked := seconds(t)
	if !asked { // make test has no time for it
		return
	}
	const instances = 8
	seed := seedOf(t)
	w := newWorld(t, instances, seed)
	w.start()
	began := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	m := newMonkey(ctx, w)
	ended := make(chan error, 1)
	go func() { ended <- m.run() }()
	lacks := ""
	for ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond)
		lacks = w.lacks(m)
		if past := time.Since(began); past > long && lacks == "" || past > long+patience {
			stop()
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if lacks != "" {
		t.Errorf("after %v: %s", time.Since(began).Round(time.Second), lacks)
	}
	chaos := time.Since(began)

	// All is well again. The fleet goes on by itself, and to either end.
	w.controller.kill()
	healed := clock()
	for _, one := range w.instances {
		redistest.WaitFor(t, time.Minute, func() bool { return one.repliedSince(t, healed) })
	}
	c := w.control()
	for _, to := range []phase.Phase{phase.Prefixed, phase.Legacy} {
		walk := c.Run
		if to == phase.Legacy {
			walk = c.Rollback
		}
		if err := walk(t.Context(), nil, 0); err != nil {
			t.Errorf("to %s, when nothing is wrong any more: %v", to, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, one := range w.instances {
		if err := one.end(); err != nil {
			t.Error(err)
		}
	}
	r := w.everything()
	for rule, seen := range r.done {
		for p := range w.walked(rule) {
			if seen[p] == 0 {
				t.Errorf("rule %s went through %s, and no operation succeeded there", rule, p)
			}
		}
	}
	judging := time.Now()
	r.check(t)
	t.Logf("seed %d: %d operations (%d of unknown outcome, %d more refused) of %d instances, %d steps, %v, in %v, judged in %v",
		seed, r.ops, r.unknown, r.refused, instances, w.steps(), m, chaos.Round(time.Millisecond), time.Since(judging).Round(time.Millisecond))
}

// lacks says what a run has not seen yet.
func (w *world) lacks(m *monkey) string {
	made := m.counts()
	for _, f := range faults() {
		if made[f.name] == 0 {
			return "not once was the fault made: " + f.name
		}
	}
	phases, err := w.stepped()
	if err != nil {
		return err.Error()
	}
	for i, rule := range rules {
		for _, p := range phase.Walk([]phase.Strategy{phase.Mirror, phase.Relocate}[i]) {
			if phases[rule][p] == 0 {
				return fmt.Sprintf("rule %s was never taken to %s", rule, p)
			}
		}
	}
	return ""
}

// seconds is how long a run is asked for.
func seconds(t *testing.T) (long time.Duration, asked bool) {
	t.Helper()
	text, ok := os.LookupEnv(secondsVariable)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", secondsVariable, err)
	}
	return time.Duration(n) * time.Second, true
}

// seedOf gives a seed, another at each call unless one is asked for, and prints it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text, ok := os.LookupEnv(seedVariable); ok {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("seed %d; repeat it with %s=%d", seed, seedVariable, seed)
	return seed
}

// repliedSince says whether the worker has got a reply after a time.
func (w *worker) repliedSince(t *testing.T, since int64) (yes bool) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	err := readLog(w.logOf(w.lives-1), func(l line) error {
		yes = yes || l.Reply != nil && l.At > since
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

// steps is how many steps all controllers have made.
func (w *world) steps() (n int) {
	for _, e := range w.log() {
		if e.What == "step" {
			n++
		}
	}
	return n
}

// stepped counts the steps that controllers have written down, by rule and phase.
func (w *world) stepped() (map[string]map[phase.Phase]int, error) {
	out := make(map[string]map[phase.Phase]int)
	for _, rule := range rules {
		out[rule] = make(map[phase.Phase]int)
	}
	w.controller.mu.Lock()
	defer w.controller.mu.Unlock()
	for life := range w.controller.lives {
		err := readLog(w.controller.logOf(life), func(l line) error {
			words := strings.Fields(l.Step) // RULE from PHASE to PHASE
			if len(words) != 5 {
				return nil
			}
			p, err := phase.Parse(words[4])
			if err == nil {
				out[words[0]][p]++
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// walked are the phases that a rule was in for sure.
func (w *world) walked(rule string) map[phase.Phase]bool {
	out := make(map[phase.Phase]bool)
	for _, e := range w.log() {
		if p, err := phase.Parse(e.From); err == nil && e.What == "step" && e.Rule == rule {
			out[p] = true
		}
	}
	return out
}

// everything is what all instances did, and what is there in the end: each key is read once more.
func (w *world) everything() *record {
	w.t.Helper()
	r := newRecord(w)
	for _, one := range w.instances {
		if err := r.read(one); err != nil {
			w.t.Fatal(err)
		}
	}
	last, err := rekey.Open(w.t.Context(), w.plan, rekey.WithFleet(rekey.FleetConfig{Name: "last"}))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := openClient(goRedisClient, last, w.server.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range kinds() {
		for _, rule := range rules {
			for g := range (clock()-w.began)/generation + 1 {
				for n := range keysEach {
					key := keyOf(rule, k.name, g, n)
					call := line{At: clock(), Call: &history.Op{Name: k.read.op, Key: key}, Kind: k.name, Phase: last.Phases()[rule]}
					v, err := k.read.call(w.t.Context(), c, key, nil)
					if err != nil {
						w.t.Fatalf("read %s in the end: %v", key, err)
					}
					reply := replyOf(v)
					r.add("last", call, line{At: clock(), Reply: &reply})
				}
			}
		}
	}
	c.close()
	if err := last.Close(); err != nil {
		w.t.Error(err)
	}
	return r
}
