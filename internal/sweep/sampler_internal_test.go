package sweep

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// A page begins before the one before has ended only where nothing holds the sweep back; and what holds it back ends the page
// at work before the sweep sleeps, so that no answer is left unread for as long as it sleeps.
func TestPagesOverlapOnlyWhereNothingHoldsTheSweepBack(t *testing.T) {
	none, some, yes, no, batch := 0.0, 1.0, true, false, 500
	if !(*sampler)(nil).free() {
		t.Error("without a sampler nothing holds a sweep back")
	}
	for name, c := range map[string]struct {
		pace  pace
		knobs Knobs
		free  bool
	}{
		"nothing":       {pace{batch: batch}, Knobs{Rate: &none, Nice: &none, Paused: &no}, true},
		"small pages":   {pace{batch: 50, class: "latency"}, Knobs{Rate: &none, Nice: &none, Paused: &no}, false},
		"sleep":         {pace{batch: batch, ratio: 0.1, class: "cpu"}, Knobs{Rate: &none, Nice: &none, Paused: &no}, false},
		"rate":          {pace{batch: batch}, Knobs{Rate: &some, Nice: &none, Paused: &no}, false},
		"nice":          {pace{batch: batch}, Knobs{Rate: &none, Nice: &some, Paused: &no}, false},
		"paused":        {pace{batch: batch}, Knobs{Rate: &none, Nice: &none, Paused: &yes}, false},
		"no room":       {pace{batch: batch, paused: true, class: "memory"}, Knobs{Rate: &none, Nice: &none, Paused: &no}, false},
		"fork, asleep":  {pace{batch: batch, ratio: 1, class: "fork"}, Knobs{Rate: &none, Nice: &none, Paused: &no}, false},
		"slow at times": {pace{batch: 400, class: "latency"}, Knobs{Rate: &none, Nice: &none, Paused: &no}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.knobs.Batch = &batch
			s := &sampler{pace: c.pace, knobs: c.knobs}
			if got := s.free(); got != c.free {
				t.Errorf("free: %v", got)
			}
			s.worked(10, time.Hour) // owes as much as there is to owe
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // so that it sleeps for no time
			finished := 0
			err := s.hold(ctx, func() error { finished++; return nil }, func(string, string, time.Duration) {})
			if slept := errors.Is(err, context.Canceled); slept && finished != 1 || !slept && (err != nil || finished != 0) {
				t.Errorf("%v with the page at work ended %d times", err, finished)
			}
			if c.knobs.Paused == &yes || c.pace.paused || c.pace.ratio > 0 || *c.knobs.Nice > 0 || *c.knobs.Rate > 0 {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("it did not sleep: %v", err)
				}
			}
		})
	}
}

// One slow probe, of whatever else the machine did, must not be taken for an idle server's latency: twice as much would be the
// sweep's limit. A server that is slow again and again is.
func TestOneSlowProbeIsNotIdle(t *testing.T) {
	samples := make([]time.Duration, idleLooks*idleProbes)
	for i := range samples {
		samples[i] = 300 * time.Microsecond
	}
	samples[40] = 5 * time.Millisecond
	if got := idleOf(slices.Clone(samples)); got != 300*time.Microsecond {
		t.Errorf("with one slow probe: %v", got)
	}
	samples[70] = 4 * time.Millisecond
	if got := idleOf(samples); got != 4*time.Millisecond {
		t.Errorf("with slow ones at different times: %v", got)
	}
}
