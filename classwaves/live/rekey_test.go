package live

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func allAt(p phase.Phase) map[string]phase.Phase {
	return phasefleet.At(p, "session_analytics", "group_analytics", "dashboards", "secure_sessions")
}

// over is a client through rekey.
func over(t *testing.T, s *redistest.Server, source rekey.Option) *redis.Client {
	t.Helper()
	_, client := phasefleet.Open(t, s, source)
	return client
}

// Channels are not rewritten: a process in any phase hears one without rekey and is heard by it.
func TestEveryPhase(t *testing.T) {
	for _, p := range phase.Of(phase.Mirror) {
		t.Run(p.String(), func(t *testing.T) {
			s := redistest.Shared(t)
			bare, through := start(t, s.Client(), nil).ready(t), start(t, over(t, s, rekey.WithPhases(allAt(p))), nil).ready(t)
			atBare, atThrough := bare.join(t, "one"), through.join(t, "one")
			bare.publish(t, "one", "metrics", 1)
			through.publish(t, "one", "metrics", 2)
			for _, b := range []*browser{atBare, atThrough} {
				got := map[string]bool{string(b.next().Payload): true, string(b.next().Payload): true}
				if !got["1"] || !got["2"] {
					t.Errorf("got %v", got)
				}
			}
		})
	}
}

// A subscription goes on through every change of phase, and misses nothing.
func TestPhaseChanges(t *testing.T) {
	s := redistest.Shared(t)
	walk := phase.Walk(phase.Mirror)
	source := rekey.NewManual(allAt(walk[0]))
	p := start(t, over(t, s, rekey.WithSource(source)), nil).ready(t)
	b := p.join(t, "one")
	publisher := start(t, s.Client(), nil)
	n := 0
	for _, step := range append(walk[1:], walk[0]) {
		source.Set(allAt(step))
		for range 20 {
			publisher.publish(t, "one", "metrics", n)
			if got := string(b.next().Payload); got != strconv.Itoa(n) {
				t.Fatalf("%s: got %s, want %d", step, got, n)
			}
			n++
		}
	}
	if m := p.Metrics(); m.Lost != 0 {
		t.Errorf("the subscription was lost: %+v", m)
	}
}
