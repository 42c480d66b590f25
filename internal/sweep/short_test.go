package sweep_test

import (
	"fmt"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// Verify does not ask for expiry times while no key of the database has one. A key that gets one meanwhile, under one name
// alone, is found all the same.
func TestVerifyFindsTheFirstExpiryTime(t *testing.T) {
	client := redistest.Shared(t).Client()
	const keys = 1000
	for i := range keys {
		name := fmt.Sprintf("thing:%d", i)
		do(t, client, "MSET", name, "v", target(name), "v")
	}
	do(t, client, "MSET", "thing:empty", "", target("thing:empty"), "")
	// Nice keeps pages apart: none has begun when the one before has ended.
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual, Page: 500, Nice: 0.01}
	if r := run(t, o); r.Found() != 0 || r.Matched != 2*keys+2 {
		t.Fatalf("%d of %d keys differ: %v", r.Found(), r.Matched, r.Problems)
	}
	var before int64 // names that were looked at before
	o.OnProgress = func(p sweep.Progress) {
		if before > 0 {
			return
		}
		before = p.Matched
		for i := range keys {
			do(t, client, "EXPIRE", target(fmt.Sprintf("thing:%d", i)), "1000")
		}
	}
	// About half of these were legacy names. Had the next page been taken for one without expiry times, as many more would lack.
	if r := run(t, o); r.Problems[sweep.TTL] < keys-before*3/4 || r.Found() != r.Problems[sweep.TTL] {
		t.Errorf("problems: %v after the first %d of %d names", r.Problems, before, 2*keys)
	}
}

// A target without a legacy copy and a legacy key without a target are found in one walk, among keys that are in order, each
// named once.
func TestVerifyFindsBothSidesInOneWalk(t *testing.T) {
	client := redistest.Shared(t).Client()
	for i := range 500 {
		name := fmt.Sprintf("thing:%d", i)
		switch i {
		case 7:
			do(t, client, "SET", name, "")
		case 300, 301:
			do(t, client, "SET", target(name), "")
		default:
			do(t, client, "MSET", name, "v", target(name), "v", "somebody:else:"+name, "v")
		}
	}
	passes := 0
	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual, Page: 40,
		OnProgress: func(p sweep.Progress) { passes = max(passes, p.Passes) }})
	if r.Problems[sweep.Missing] != 1 || r.Problems[sweep.Orphan] != 2 || r.Found() != 3 || passes != 1 {
		t.Errorf("problems %v in %d walks", r.Problems, passes)
	}
}
