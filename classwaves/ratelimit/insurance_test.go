package ratelimit

import (
	"strconv"
	"testing"
	"time"
)

// start is any moment; the insurance sees only this clock.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (n *insurance) takeMany(now time.Time, hits int, limit Limit, key string) (passed int) {
	for range hits {
		if n.take(now, limit, key).Allowed {
			passed++
		}
	}
	return passed
}

func TestInsuranceBlocksAndPardons(t *testing.T) {
	n := newInsurance(10)
	limit := Limit{Name: "a", Points: 3, Window: time.Minute, Block: time.Hour}
	if got := n.takeMany(start, 10, limit, "u"); got != 3 {
		t.Fatalf("%d of 10 passed, want 3", got)
	}
	if d := n.take(start.Add(30*time.Minute), limit, "u"); d.Allowed || d.RetryAfter != 30*time.Minute || d.Reset != 30*time.Minute {
		t.Errorf("half way through the block: %+v", d)
	}
	if got := n.takeMany(start.Add(time.Hour), 10, limit, "u"); got != 3 {
		t.Errorf("%d of 10 passed after the block, want 3", got)
	}
}

func TestInsuranceWithoutBlockRefills(t *testing.T) {
	n := newInsurance(10)
	limit := Limit{Name: "a", Points: 4, Window: time.Minute}
	d := n.take(start, limit, "u")
	if !d.Allowed || d.Remaining != 3 || d.Reset != 15*time.Second || d.RetryAfter != 0 || !d.Insured {
		t.Errorf("first hit: %+v", d)
	}
	n.takeMany(start, 3, limit, "u")
	if d := n.take(start, limit, "u"); d.Allowed || d.RetryAfter != 15*time.Second || d.Reset != time.Minute {
		t.Errorf("the excess: %+v", d)
	}
	if !n.take(start.Add(15*time.Second), limit, "u").Allowed {
		t.Error("no point came back in a quarter of the window")
	}
}

func TestInsuranceLearnsFromRedis(t *testing.T) {
	n := newInsurance(10)
	n.learn(start, Auth, "u", Decision{RetryAfter: time.Minute})
	if d := n.take(start, Auth, "u"); d.Allowed || d.RetryAfter != time.Minute {
		t.Errorf("refused by Redis before: %+v", d)
	}
	if !n.take(start.Add(time.Minute), Auth, "u").Allowed {
		t.Error("refused after the end that Redis told")
	}
	n.learn(start, Auth, "v", Decision{RetryAfter: time.Minute})
	n.learn(start, Auth, "v", Decision{Allowed: true})
	if !n.take(start, Auth, "v").Allowed {
		t.Error("refused though Redis pardoned it")
	}
	n.learn(start, Auth, "w", Decision{Allowed: true})
	if n.len() != 2 {
		t.Errorf("%d subjects, want only those that were ever refused", n.len())
	}
}

func TestInsuranceIsBounded(t *testing.T) {
	n := newInsurance(100)
	for i := range 10_000 {
		n.take(start, Auth, strconv.Itoa(i))
		n.take(start, Auth, "busy")
	}
	if n.len() != 100 || len(n.subjects) != 100 {
		t.Errorf("%d subjects in the list, %d in the map, want 100", n.len(), len(n.subjects))
	}
	if n.take(start, Auth, "busy").Allowed {
		t.Error("the subject that was used all the time was forgotten")
	}
	// When all are idle each one that comes takes two away.
	later := start.Add(Auth.Window + Auth.Block)
	for i := range 60 {
		n.take(later, General, "later"+strconv.Itoa(i))
	}
	if n.len() > 60 {
		t.Errorf("%d subjects after an hour, want the 60 of now", n.len())
	}
	n.clear()
	if n.len() != 0 {
		t.Error("clear left subjects")
	}
}

func TestInsuranceFollowsAChangedLimit(t *testing.T) {
	n := newInsurance(10)
	n.takeMany(start, 5, Limit{Name: "a", Points: 5, Window: time.Minute}, "u")
	if got := n.takeMany(start, 50, Limit{Name: "a", Points: 20, Window: time.Minute}, "u"); got != 20 {
		t.Errorf("%d passed by the new limit, want 20", got)
	}
}
