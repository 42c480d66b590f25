package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// counts reports a number of fallbacks with the next renewal, and waits for that.
func (s *sim) counts(rule string, fallbacks uint64) {
	s.mu.Lock()
	state := s.self.Rules[rule]
	state.Fallbacks = fallbacks
	s.self.Rules[rule] = state
	s.mu.Unlock()
	s.renew(context.Background())
}

// goes ends it in order: its record goes with it, and with that what it had counted.
func (s *sim) goes() {
	s.w.t.Helper()
	s.kill()
	if err := s.w.store.Leave(context.Background(), s.id); err != nil {
		s.w.t.Fatal(err)
	}
}

// soaked is when the soak of a rule that is under way began, by the server's clock; 0: it has not begun.
func (w *world) soaked(rule string) (micros int64) {
	var record struct{ At int64 }
	text := w.client.Get(context.Background(), w.store.Keys().Sweep("quiet", rule)).Val()
	_ = json.Unmarshal([]byte(text), &record) // "" is no soak
	return record.At
}

// A soak begins anew with each fallback, whichever instance has it, and where one is gone, or counts from 0
// again, so that nobody knows what it read last.
func TestAFallbackBeginsTheSoakAnew(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(5)
	a, b := w.join("a"), w.join("b")
	a.counts("sessions", 7) // of before
	w.run(phase.Dual, "sessions")
	o := w.options()
	o.Soak = time.Hour
	var looks atomic.Int64
	o.Progress = func(e control.Event) {
		if e.Kind == control.Soaking {
			looks.Add(1)
		}
	}
	c := w.open(o)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, []string{"sessions"}, phase.Settled) }()
	began := int64(0)
	for _, happens := range []struct {
		what string
		do   func()
	}{
		{"the walk comes to its soak", func() {}},
		{"a falls back", func() { a.counts("sessions", 8) }},
		{"b falls back", func() { b.counts("sessions", 1) }},
		{"b counts from 0 again", func() { b.counts("sessions", 0) }},
		{"b is gone", b.goes},
		{"one comes and falls back", func() { w.join("c").counts("sessions", 1) }},
		{"one that came since is gone", func() {
			e := w.join("e")
			before := looks.Load()
			redistest.WaitFor(t, within, func() bool { return looks.Load() >= before+2 }) // it was seen
			e.goes()
		}},
	} {
		happens.do()
		anew := func() bool { return w.soaked("sessions") > began }
		redistest.WaitFor(t, within, func() bool { return anew() || len(ended) > 0 })
		if !anew() {
			t.Fatalf("%s: the walk ended, with %v, in %v", happens.what, <-ended, w.phase("sessions"))
		}
		began = w.soaked("sessions")
	}
	// A fallback of another rule is none of this one.
	a.counts("limits", 1)
	w.join("d")
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) || w.phase("sessions") != phase.Dual {
		t.Errorf("got %v in %v, want that it was interrupted in dual", err, w.phase("sessions"))
	}
	if got := w.soaked("sessions"); got != began {
		t.Errorf("what is no fallback of sessions began the soak anew")
	}
}

// One that came during a soak and has gone is missed by whoever goes on with that soak, too: by another controller, and by
// one that had to bury it while the soak came to its end.
func TestTheSoakOfAnotherControllerMissesWhoCame(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(5)
	w.join("a")
	w.run(phase.Dual, "sessions")
	var looks atomic.Int64
	var missed atomic.Bool
	o := w.options()
	o.Soak = time.Hour
	o.Progress = func(e control.Event) {
		if e.Kind == control.Soaking {
			looks.Add(1)
			missed.Store(missed.Load() || strings.Contains(e.Text, "an instance has gone"))
		}
	}
	c := w.open(o)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, []string{"sessions"}, phase.Settled) }()
	redistest.WaitFor(t, within, func() bool { return w.soaked("sessions") > 0 })
	began := w.soaked("sessions")
	b := w.join("b")
	before := looks.Load()
	redistest.WaitFor(t, within, func() bool { return looks.Load() >= before+2 }) // it was seen
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if w.soaked("sessions") != began {
		t.Error("that one came began the soak anew")
	}
	b.goes()
	o.Soak = time.Millisecond // which is over
	w.runWith(o, phase.Settled, "sessions")
	if !missed.Load() {
		t.Error("the step was made, and nobody knows what the one that has gone had read")
	}
}

// When nobody has fallen back for the soak time the walk goes on, and not before. Without a soak it goes on
// beside any number of fallbacks, so it is the soak that holds it.
func TestTheSoakTime(t *testing.T) {
	const soak = 300 * time.Millisecond
	for _, c := range []struct {
		name string
		soak time.Duration
	}{{"a soak", soak}, {"none", -1}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testPlan)
			w.fill(5)
			w.join("a")
			noisy := w.join("b")
			w.run(phase.Dual, "sessions")
			o := w.options()
			o.Soak = c.soak
			var last, quiet time.Time // of the server
			o.Progress = func(e control.Event) {
				switch {
				case e.Kind == control.Soaking && quiet.IsZero() && last.IsZero(), e.Kind == control.Proven && c.soak < 0:
					last = w.client.Time(context.Background()).Val()
					noisy.counts("sessions", uint64(last.UnixMicro()))
				case e.Kind == control.Stepped:
					quiet = w.client.Time(context.Background()).Val()
				}
			}
			w.runWith(o, phase.Settled, "sessions")
			if last.IsZero() || quiet.IsZero() {
				t.Fatalf("fell back at %v, stepped at %v", last, quiet)
			}
			if quiet.Sub(last) < c.soak {
				t.Errorf("the step came %v after a fallback, want %v at least", quiet.Sub(last), c.soak)
			}
		})
	}
}

// A soak lasts, and nothing new is said every few milliseconds: the records of all instances are not read each time that it is
// looked whether one has come or gone.
func TestASoakReadsTheRecordsSeldom(t *testing.T) {
	const soak = time.Second
	w := newWorld(t, testPlan)
	w.fill(5)
	w.join("a")
	w.run(phase.Dual, "sessions")
	o := w.options()
	o.Soak = soak
	looks := 0
	o.Progress = func(e control.Event) {
		if e.Kind == control.Soaking {
			looks++
		}
	}
	w.runWith(o, phase.Settled, "sessions")
	if often := int(soak / o.Poll); looks == 0 || looks > often/4 {
		t.Errorf("the records were read %d times where they could have been %d times", looks, often)
	}
}
