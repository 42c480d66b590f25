package demo

import (
	"testing"
	"time"
)

// moment is a command that ran about d after the beginning.
func moment(d time.Duration) span {
	at := time.Unix(1_000_000, 0).Add(d)
	return span{at, at.Add(time.Millisecond)}
}

func text(s string) reply { return reply{text: s} }

var none = reply{null: true}

func TestRegisterIsJudged(t *testing.T) {
	written := func(r *register) { r.set("v2 x", 10*time.Second, moment(0)) }
	deleted := func(r *register) { written(r); r.remove() }
	tests := []struct {
		name  string
		given func(*register)
		at    time.Duration
		got   reply
		want  fault
	}{
		{"what was written", written, time.Second, text("v2 x"), 0},
		{"an older value", written, time.Second, text("v1 x"), stale},
		{"a write that is gone", written, time.Second, none, lost},
		{"deleted", deleted, time.Second, none, 0},
		{"deleted and back", deleted, time.Second, text("v2 x"), revived},
		{"never written", func(*register) {}, 0, text("v1 x"), revived},
		{"before its expiry", written, 9*time.Second + 800*time.Millisecond, none, lost},
		{"at its expiry, gone", written, 10 * time.Second, none, 0},
		{"at its expiry, there", written, 10 * time.Second, text("v2 x"), 0},
		{"at its expiry, another", written, 10 * time.Second, text("v1 x"), stale},
		{"after its expiry", written, 11 * time.Second, text("v2 x"), revived},
	}
	for _, tt := range tests {
		var r register
		tt.given(&r)
		if got := r.read(tt.got, moment(tt.at)); got.fault != tt.want {
			t.Errorf("%s: %v (got %s, want %s), want %v", tt.name, got.fault, got.got, got.want, tt.want)
		}
		// One fault is counted once.
		if got := r.read(tt.got, moment(tt.at)); got.fault != 0 {
			t.Errorf("%s, read again: %v, want right", tt.name, got.fault)
		}
	}
}

func TestTimeToLiveIsJudged(t *testing.T) {
	tests := []struct {
		name string
		ms   int64
		want fault
	}{
		{"exact", 8000, 0},
		{"within what clocks differ by", 8090, 0},
		{"too long", 9000, stale},
		{"too short", 7000, stale},
		{"no expiry", -1, lost},
		{"no key", -2, lost},
	}
	for _, tt := range tests {
		var r register
		r.set("v1", 10*time.Second, moment(0))
		if got := r.ttl(tt.ms, moment(2*time.Second)); got.fault != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got.fault, tt.want)
		}
	}
	var gone register
	if got := gone.ttl(5000, moment(0)); got.fault != revived {
		t.Errorf("of a key that is not there: %v, want revived", got.fault)
	}
}

func TestCounterIsJudged(t *testing.T) {
	tests := []struct {
		name string
		at   time.Duration
		got  int64
		want fault
	}{
		{"one more", time.Second, 6, 0},
		{"a fresh budget", time.Second, 1, lost},
		{"a count that was lost", time.Second, 5, stale},
		{"counted twice", time.Second, 7, stale},
		{"as it expires, old", 10 * time.Second, 6, 0},
		{"as it expires, new", 10 * time.Second, 1, 0},
		{"as it expires, neither", 10 * time.Second, 3, stale},
		{"after expiry", 11 * time.Second, 1, 0},
		{"a count that should have expired", 11 * time.Second, 6, revived},
	}
	for _, tt := range tests {
		c := counter{n: 5}
		c.exists = true
		c.expireIn(10*time.Second, moment(0))
		if got := c.incremented(tt.got, moment(tt.at)); got.fault != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got.fault, tt.want)
		}
	}
}

func TestTallyIsJudged(t *testing.T) {
	tests := []struct {
		name  string
		got   int64
		least int64
		want  fault
	}{
		{"all acknowledged, none under way", 10, 10, 0},
		{"with those under way", 12, 10, 0},
		{"an acknowledged one is missing", 9, 10, lost},
		{"more than were begun", 13, 10, stale},
	}
	for _, tt := range tests {
		counts := tally{acknowledged: 10, begun: 12}
		if got := counts.judge(tt.got, tt.least); got.fault != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got.fault, tt.want)
		}
	}
	// Two counts with one number: the next one shows that one was lost.
	counts := tally{acknowledged: 2, begun: 3, highest: 1}
	if got := counts.judge(2, counts.least()+1); got.fault != lost {
		t.Errorf("a count that was given twice: %v, want lost", got.fault)
	}
}

func TestMembersAreJudged(t *testing.T) {
	tests := []struct {
		name string
		got  []string
		want fault
	}{
		{"the same", []string{"b", "a"}, 0},
		{"only the newest", []string{"b"}, lost},
		{"empty", nil, lost},
		{"a removed one is back", []string{"a", "b", "c"}, revived},
		{"one gone, one back", []string{"a", "c"}, lost},
	}
	for _, tt := range tests {
		m := members{in: map[string]bool{"a": true, "b": true}}
		m.exists = true
		if got := m.read(tt.got, moment(0)); got.fault != tt.want {
			t.Errorf("%s: %v (%s for %s), want %v", tt.name, got.fault, got.got, got.want, tt.want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("median of nothing: %v", got)
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	h.add(time.Hour * 1000) // longer than the last bucket
	for part, want := range map[float64]time.Duration{0.5: 501 * time.Microsecond, 0.99: 991 * time.Microsecond} {
		got := h.quantile(part)
		if got > want || got < want*96/100 {
			t.Errorf("quantile %v is %v, want %v to 4 percent", part, got, want)
		}
	}
	for d := time.Duration(1); d < time.Hour; d = d*3/2 + 1 {
		if low := valueOf(bucketOf(d)); low > d || low < d*96/100 {
			t.Errorf("%v is in the bucket of %v", d, low)
		}
	}
}
