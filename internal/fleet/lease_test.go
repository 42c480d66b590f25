package fleet

import (
	"testing"
	"time"
)

// A lease ends for its holder before anybody who reads the record can take it for lost, however slow the
// server and the network were.
func TestALeaseEndsForItsHolderFirst(t *testing.T) {
	origin := time.Unix(1000, 0)
	const term, margin = 15 * time.Second, 3 * time.Second
	for _, delay := range []time.Duration{0, time.Millisecond, time.Second, 20 * time.Second} {
		began := origin
		written := origin.Add(delay) // the server dates the record later than the renewal began
		lease := NewLease(began, term, margin)
		record := Instance{Renewed: written.UnixMicro(), Lease: term.Microseconds()}
		for at := origin; at.Before(origin.Add(time.Minute)); at = at.Add(100 * time.Millisecond) {
			if record.Lost(at.UnixMicro()) && lease.Remaining(at) > 0 {
				t.Fatalf("with a delay of %s, after %s the record is lost and its holder sends commands", delay, at.Sub(origin))
			}
			if lease.Remaining(at) <= 0 && at.Sub(origin) < term-margin {
				t.Fatalf("the lease ends after %s", at.Sub(origin))
			}
		}
		// A lease that counts from the answer is the wrong one: with the delay beyond the margin it outlives
		// a record that was written at once.
		wrong, early := NewLease(origin.Add(delay), term, margin), Instance{Renewed: origin.UnixMicro(), Lease: term.Microseconds()}
		end := origin.Add(term)
		if outlives := early.Lost(end.UnixMicro()) && wrong.Remaining(end) > 0; outlives != (delay > margin) {
			t.Errorf("with a delay of %s, counting from the answer outlives the record: %v", delay, outlives)
		}
	}
	if (Lease{}).Remaining(origin) > 0 {
		t.Error("a lease that was never renewed")
	}
}

func TestMarksAreOrdered(t *testing.T) {
	for _, c := range []struct {
		a, b Mark
		want int
	}{
		{Mark{1, 5}, Mark{1, 5}, 0}, {Mark{1, 5}, Mark{1, 6}, -1}, {Mark{2, 1}, Mark{1, 6}, 1}, {Mark{-1, -1}, Mark{}, -1},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%v against %v: got %d, want %d", c.a, c.b, got, c.want)
		}
		if got := c.b.Compare(c.a); got != -c.want {
			t.Errorf("%v against %v: got %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}
