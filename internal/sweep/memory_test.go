package sweep

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// The error that is stated holds the truth in about 95 of 100 samples.
func TestNeedStatesItsError(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const names, visited, rounds = 20_000, 2_000, 100
	population := make([]int64, names) // a name in three is the rule's
	var truth int64
	for i := range population {
		if random.IntN(3) == 0 {
			population[i] = 100 + int64(random.ExpFloat64()*500)
			truth += population[i]
		}
	}
	within := 0
	for range rounds {
		s := Sampled{Visited: visited}
		for _, i := range random.Perm(names)[:visited] {
			if population[i] > 0 {
				s.Add(population[i] - perCopy)
			}
		}
		n := s.Need(names, false)
		if n.Error <= 0 || n.Error > truth/5 {
			t.Fatalf("%+v of %d: an error that says nothing", n, truth)
		}
		if n.Bytes-n.Error <= truth && truth <= n.Bytes+n.Error {
			within++
		}
	}
	if within < rounds*85/100 {
		t.Errorf("the truth is within the error of %d of %d samples", within, rounds)
	}
	s := Sampled{Visited: names, keys: 2, sum: 300}
	if n := s.Need(names, true); n != (Need{Keys: 2, Bytes: 300}) {
		t.Errorf("all names were looked at: %+v", n)
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		m    Memory
		need int64
		room int64
		fits bool
	}{
		{Memory{Used: 10, Limit: 100}, 90, 90, true},
		{Memory{Used: 10, Limit: 100}, 91, 90, false},
		{Memory{Used: 200, Limit: 100}, 1, 0, false},
		{Memory{Used: 200}, 1 << 40, 0, true},
	} {
		if room, fits := c.m.Fits(Need{Bytes: c.need}); room != c.room || fits != c.fits {
			t.Errorf("%+v: %d left, fits %v", c, room, fits)
		}
	}
}

// A backfill that cannot fit does not begin, and begins on the operator's word; its estimate is compared with what came.
func TestBackfillThatCannotFit(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	p, err := plan.Parse("rekey.yaml", []byte(`{version: 1, environment: test, rules: [{name: things, legacy: "thing:{id}", target: "cw:{env}:thing:{id}"}]}`),
		func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	const keys = 4000
	pipe := c.Pipeline()
	for i := range keys {
		pipe.Set(t.Context(), "thing:"+strconv.Itoa(i), strings.Repeat("x", 900), 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	used, err := askMemory(t.Context(), &link{client: c})
	if err != nil || used.Used == 0 || !used.Machine {
		t.Fatalf("memory %+v, %v", used, err)
	}
	if err := c.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(used.Used+2<<20, 10)).Err(); err != nil {
		t.Fatal(err)
	}
	backfill := func(o Options) (Result, error) {
		o.Client, o.Plan, o.Rule, o.Kind, o.Phase = c, p, "things", Backfill, phase.Dual
		return Run(t.Context(), o)
	}
	targets := func() int { return len(c.Keys(t.Context(), "cw:test:thing:*").Val()) }

	result, err := backfill(Options{})
	if err != nil {
		t.Fatal(err)
	}
	holds, reason := result.Verdict.Holds(phase.Copied)
	if holds || result.Changed > 0 || targets() > 0 || !strings.Contains(reason, "--overcommit") || !strings.Contains(reason, "of maxmemory") {
		t.Fatalf("holds %v, %d copied, %d targets: %s", holds, result.Changed, targets(), reason)
	}
	t.Log(reason)

	// On the operator's word it begins, and here the estimate was right.
	result, err = backfill(Options{Overcommit: true})
	if code(err) != "OOM" || result.Changed == 0 || targets() == keys || !strings.Contains(strings.Join(result.Notes, " "), "operator's word") {
		t.Fatalf("%d copied, %d targets: %v", result.Changed, targets(), err)
	}

	// What is copied already needs nothing more.
	if err := c.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(used.Used+10<<20, 10)).Err(); err != nil {
		t.Fatal(err)
	}
	// Its lease could not be given back on a server that is full.
	if err := c.Del(t.Context(), controlKey(p, Backfill, "things")).Err(); err != nil {
		t.Fatal(err)
	}
	result, err = backfill(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if holds, reason := result.Verdict.Holds(phase.Copied); !holds || targets() != keys {
		t.Fatalf("%d targets: %s", targets(), reason)
	}
	notes := strings.Join(result.Notes, " ")
	if !strings.Contains(notes, "memory has grown by") || !strings.Contains(notes, "were estimated at about") {
		t.Errorf("the estimate is not compared with the outcome: %q", notes)
	}
	t.Log(notes)
}

// Keys that are too big to be copied unasked take no memory, and the backfill of the others begins.
func TestBigKeysNeedNoMemory(t *testing.T) {
	c := redistest.Shared(t).Client()
	p, err := plan.Parse("rekey.yaml", []byte(`{version: 1, environment: test, rules: [{name: things, legacy: "thing:{id}", target: "cw:{env}:thing:{id}"}]}`),
		func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		c.Eval(t.Context(), "for i = 1, 100000 do redis.call('SADD', KEYS[1], 'member:' .. i) end return 1", []string{"thing:big"}).Err(),
		c.Set(t.Context(), "thing:small", "v", 0).Err(),
	); err != nil {
		t.Fatal(err)
	}
	used, err := askMemory(t.Context(), &link{client: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(used.Used+2<<20, 10)).Err(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		big    BigKeys
		reason string
		copies int64
	}{{BigNow, "--overcommit", 0}, {BigSkip, "1 keys are too big to copy unasked", 1}} {
		r, err := Run(t.Context(), Options{
			Client: c, Plan: p, Rule: "things", Kind: Backfill, Phase: phase.Dual, BigKeys: o.big, BigStall: 5 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if holds, reason := r.Verdict.Holds(phase.Copied); holds || !strings.Contains(reason, o.reason) || r.Changed != o.copies {
			t.Errorf("%v: %d copied, holds %v: %s", o.big, r.Changed, holds, reason)
		}
	}
}

// A backfill that was interrupted has copied what SCAN gives first, and that is not what the others are like.
func TestNeedOfAnInterruptedBackfill(t *testing.T) {
	c := redistest.Shared(t).Client()
	p, err := plan.Parse("rekey.yaml", []byte(`{version: 1, environment: test, rules: [{name: things, legacy: "thing:{id}", target: "cw:{env}:thing:{id}"}]}`),
		func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	const keys = 40_000
	if err := c.Eval(t.Context(), "for i = 1, ARGV[1] do redis.call('SET', 'thing:' .. i, 'v') end return 1", nil, keys).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Client: c, Plan: p, Rule: "things", Kind: Backfill, Phase: phase.Dual}
	o.OnProgress = func(p Progress) {
		if p.Matched >= keys/2 {
			cancel()
		}
	}
	result, err := Run(ctx, o)
	left := keys - result.Changed
	if err == nil || left < keys/4 {
		t.Fatalf("%d keys are left, %v", left, err)
	}
	r, err := prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(c, 0, nil)
	defer l.close()
	n, known, err := r.needOf(t.Context(), l)
	if err != nil || !known || n.Keys < left/2 || n.Keys > left*2 {
		t.Errorf("%+v, %v, %v, and %d keys are left", n, known, err, left)
	}
}
