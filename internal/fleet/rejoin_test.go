package fleet_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// within is how long anything may take in a test before it counts as hanging.
const within = 30 * time.Second

// slowEngine is an engine of one rule, at whose Resets something happens meanwhile. After the first of them it
// stands still under Follow.
type slowEngine struct {
	resetting func(n int)

	mu     sync.Mutex
	at     phase.Phase
	resets int
	opened []phase.Phase // where it stood each time that commands were let pass after the first Reset
}

func (e *slowEngine) Follow(ctx context.Context, phases []phase.Phase) error {
	e.mu.Lock()
	if e.resets == 0 {
		e.at = phases[0]
		e.mu.Unlock()
		return nil
	}
	e.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (e *slowEngine) Reset(_ context.Context, phases []phase.Phase, _ error) error {
	e.mu.Lock()
	e.resets++
	n := e.resets
	e.mu.Unlock()
	e.resetting(n)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = phases[0]
	return nil
}

func (e *slowEngine) Shut(reasons []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resets > 0 && !slices.ContainsFunc(reasons, func(s string) bool { return s != "" }) {
		e.opened = append(e.opened, e.at)
	}
}

func (e *slowEngine) Used(int) (reads, fallbacks uint64) { return 0, 0 }
func (e *slowEngine) Behind() string                     { return "" }
func (e *slowEngine) Readmit()                           {}

// An instance that was taken for dead closes its connections before it joins again, and that may last. The
// fleet does not wait for it meanwhile: it may be two steps further when the instance is in the records again,
// where the phases of then may not stand beside those of before. What is done about that may last as well.
func TestTheFleetGoesOnWhileAnInstanceCloses(t *testing.T) {
	const again = true
	for _, c := range []struct {
		name string
		way  []phase.Phase // where it was buried, and where the fleet goes while it closes its connections
		more bool          // it is buried again before it has followed, and the fleet goes to prefixed
	}{
		{"from guard", []phase.Phase{phase.Guard, phase.Dual, phase.Settled}, !again},
		{"from its parking", []phase.Phase{phase.Legacy, phase.Guard, phase.Dual}, !again},
		{"buried again", []phase.Phase{phase.Guard, phase.Dual, phase.Settled}, again},
	} {
		t.Run(c.name, func(t *testing.T) { fleetGoesOn(t, c.way, c.more) })
	}
}

func fleetGoesOn(t *testing.T, way []phase.Phase, again bool) {
	server := redistest.Shared(t)
	p, err := plan.Parse("rekey.yaml", []byte(`
version: 1
environment: test
server: {url: "`+server.URL()+`"}
fleet: {lease: 20s, renew: 2s, margin: 1s}
rules:
  - {name: sessions, legacy: "session:{id}", target: "cw:{env}:session:{id}"}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	var later atomic.Int64 // how far the instance's clock is ahead
	engine := &slowEngine{at: phase.Legacy}
	agent, _, err := fleet.JoinAgent(t.Context(), fleet.AgentConfig{
		Plan: p, Engine: engine, Name: "web", Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	store := fleet.NewStore(p, client)
	now, err := store.Targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target := now["sessions"]
	step := func(to phase.Phase) {
		target.Phase, target.Gen, target.Seq = to, 1, target.Seq+1
		text, err := json.Marshal(target)
		if err != nil {
			t.Error(err)
		}
		if err := client.HSet(t.Context(), store.Keys().Phase(), "sessions", text).Err(); err != nil {
			t.Error(err)
		}
	}
	bury := func() {
		if err := client.Del(t.Context(), store.Keys().Fleet()).Err(); err != nil {
			t.Error(err)
		}
	}
	wake := func() { // or it looks when it renews
		if _, err := store.Wake(t.Context()); err != nil {
			t.Error(err)
		}
	}
	engine.resetting = func(n int) {
		if _, err := agent.Admit(1); err == nil {
			t.Errorf("a connection was admitted while the instance was at %v and the fleet at %v", way[0], target.Phase)
		}
		switch {
		case n == 1:
			step(way[1])
			step(way[2])
			if _, err := agent.Admit(0); err == nil {
				t.Errorf("a connection without a number was let pass while the instance was at %v and the fleet at %v", way[0], target.Phase)
			}
		case n == 2 && again: // it is in the records again, until the lease has run out
			later.Store(int64(p.Fleet.Lease))
			bury()
			step(phase.Sealed)
			step(phase.Prefixed)
		}
	}
	agent.Start()
	defer func() { _ = agent.Close(fleet.Leave) }() // the server goes with the test
	step(way[0])
	wake()
	redistest.WaitFor(t, within, func() bool {
		return agent.Acknowledged()[0] == way[0] && instances(t, store)[0].Rules["sessions"].Mark == target.Mark
	})
	bury()
	wake()
	redistest.WaitFor(t, within, func() bool {
		engine.mu.Lock()
		defer engine.mu.Unlock()
		return len(engine.opened) > 0
	})
	engine.mu.Lock()
	first := engine.opened[0]
	engine.mu.Unlock()
	want := way[2]
	if again {
		want = phase.Prefixed
	}
	if first != want {
		t.Fatalf("commands passed in %v while the fleet was at %v", first, want)
	}
	redistest.WaitFor(t, within, func() bool {
		all := instances(t, store)
		return len(all) == 1 && all[0].Rules["sessions"].Phase == want
	})
}

func instances(t *testing.T, store *fleet.Store) []fleet.Instance {
	t.Helper()
	all, _, err := store.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
