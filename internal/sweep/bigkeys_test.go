package sweep

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// million is a set whose copy was measured at 0.3 to 0.4 s.
var million = Weight{Type: "set", Bytes: 64_388_712, Elements: 1_000_000}

func TestCopyStall(t *testing.T) {
	for _, c := range []struct {
		name     string
		w        Weight
		from, to time.Duration // what was measured
	}{
		{"a set of a million", million, 300 * time.Millisecond, 450 * time.Millisecond},
		{"the same, by its bytes alone", Weight{Type: "set", Bytes: million.Bytes}, 300 * time.Millisecond, 900 * time.Millisecond},
		{"a string of 100 MB", Weight{Type: "string", Bytes: 100_000_000}, 50 * time.Millisecond, 100 * time.Millisecond},
		{"a list of a million", Weight{Type: "list", Bytes: 19_000_000, Elements: 1_000_000}, 10 * time.Millisecond, 60 * time.Millisecond},
		{"a small hash", Weight{Type: "hash", Bytes: 600, Elements: 20}, 0, 20 * time.Microsecond},
		{"gone", Weight{Type: "none"}, 0, 0},
	} {
		if got := c.w.CopyStall(); got < c.from || got > c.to {
			t.Errorf("%s: %v, want %v to %v", c.name, got, c.from, c.to)
		}
	}
	if module := (Weight{Type: "ReJSON-RL", Bytes: 64_000_000}); module.CopyStall() < million.CopyStall() {
		t.Errorf("a type that is not known stalls for %v, less than a set of its size", module.CopyStall())
	}
}

// Every job in every phase where it may run, for a key that is big and one that is not.
func TestTreatBigKeys(t *testing.T) {
	small := Weight{Type: "hash", Bytes: 1000, Elements: 30}
	for kind := Purge; kind.known(); kind++ {
		for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
			for _, p := range kind.Phases(s) {
				for _, policy := range []BigKeys{BigSkip, BigNow, BigMove} {
					if got, reason := policy.Treat(kind, s, p, small, 0); got != Plain || reason != "" {
						t.Errorf("%v %v %v %v: a small key gets %v, %q", policy, kind, s, p, got, reason)
					}
					want := Plain
					switch copies := s == phase.Mirror && (kind == Backfill || kind == Reverse || kind == Verify); {
					case copies && policy == BigMove && kind == Backfill && p == phase.Drain:
						want = Rename
					case copies && policy != BigNow:
						want = Leave
					}
					got, reason := policy.Treat(kind, s, p, million, 0)
					if got != want || (reason == "") != (want == Plain) {
						t.Errorf("%v %v %v %v: a big key gets %v, %q, want %v", policy, kind, s, p, got, reason, want)
					}
				}
			}
		}
	}
	if got, _ := BigSkip.Treat(Backfill, phase.Mirror, phase.Dual, million, time.Second); got != Plain {
		t.Error("the limit does not count")
	}
}

func TestParseBigKeys(t *testing.T) {
	for _, want := range []BigKeys{BigSkip, BigNow, BigMove} {
		if got, err := ParseBigKeys(want.String()); got != want || err != nil {
			t.Errorf("%v: got %v, %v", want, got, err)
		}
	}
	if _, err := ParseBigKeys("later"); err == nil || !strings.HasPrefix(err.Error(), "rekey: ") {
		t.Errorf("got %v", err)
	}
}

func weighed(t *testing.T, c *redis.Client, names []string, limit time.Duration) ([]Weight, error) {
	t.Helper()
	l := newLink(c, 0, nil)
	defer l.close()
	end, err := weigh(t.Context(), l, names, limit)
	if err != nil {
		return nil, err
	}
	return end()
}

// What a server says of keys of every type, with and without MEMORY USAGE.
func TestWeigh(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	const members = 3000
	pipe := c.Pipeline()
	for i := range members {
		m := strconv.Itoa(i) + strings.Repeat("x", 20)
		pipe.SAdd(t.Context(), "set", m)
		pipe.HSet(t.Context(), "hash", m, "v")
		pipe.ZAdd(t.Context(), "zset", redis.Z{Score: float64(i), Member: m})
		pipe.RPush(t.Context(), "list", m)
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "stream", Values: []string{"f", m}})
	}
	pipe.SetRange(t.Context(), "string", 1<<20, "x")
	pipe.Set(t.Context(), "small", "x", 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := []string{"set", "hash", "zset", "list", "stream", "string", "small", "gone"}
	const limit = 300 * time.Microsecond // lighter than what any of the big ones takes
	full, err := weighed(t, c, names, limit)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range full {
		switch name := names[i]; {
		case name == "gone":
			if w.Bytes != 0 || w.CopyStall() != 0 {
				t.Errorf("gone: %+v", w)
			}
		case name == "small":
			if w.Bytes == 0 || w.Type != "" {
				t.Errorf("small: %+v, want its bytes alone", w)
			}
		case w.Type != name || w.Bytes < 10_000 || name != "string" && w.Elements != members:
			t.Errorf("%s: %+v", name, w)
		}
	}
	if err := c.Do(t.Context(), "ACL", "SETUSER", "poor", "on", ">x", "~*", "+@read", "+@connection", "-memory").Err(); err != nil {
		t.Fatal(err)
	}
	poor := s.Client(func(o *redis.Options) { o.Username, o.Password = "poor", "x" })
	blind, err := weighed(t, poor, names, limit)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range blind {
		if name := names[i]; slices.Contains(names[:5], name) && (w.Type != name || w.Elements != members) || name == "string" && w.Bytes != 1<<20+1 {
			t.Errorf("%s without MEMORY: %+v", name, w)
		}
	}
	if stall := blind[0].CopyStall(); stall < members*copyCost["set"] {
		t.Errorf("without MEMORY a set of %d stalls for %v", members, stall)
	}
}
