package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// short is long enough for instances to work in each phase beside each other, and fewKeys few enough
// for the embedded server, which sorts all keys for every SCAN, under the race detector.
const (
	short   = time.Second
	fewKeys = 60
)

// TestNothingIsLost walks with both strategies on both servers.
func TestNothingIsLost(t *testing.T) {
	for _, tt := range []struct {
		strategy phase.Strategy
		where    string
	}{{phase.Mirror, "embedded"}, {phase.Mirror, "server"}, {phase.Relocate, "server"}} {
		t.Run(tt.strategy.String()+"/"+tt.where, func(t *testing.T) {
			o := Options{Strategy: tt.strategy, Duration: short, Instances: 3, Keys: fewKeys}
			if tt.where == "server" {
				o.URL = plan.URL(redistest.Shared(t).URL())
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatalf("seed %d: %v", r.Seed, err)
			}
			for _, v := range r.Violations {
				t.Errorf("seed %d: %s", r.Seed, v)
			}
			wantPhases(t, r, tt.strategy)
			if r.Lost+r.Stale+r.Revived != 0 || r.Fallbacks == 0 || r.KeysMoved == 0 {
				t.Errorf("seed %d: lost %d, stale %d, revived %d, fallbacks %d, moved %d; want 0, 0, 0 and more than none",
					r.Seed, r.Lost, r.Stale, r.Revived, r.Fallbacks, r.KeysMoved)
			}
		})
	}
}

// wantPhases holds that something was done in every phase of the way, and that it adds up.
func wantPhases(t *testing.T, r Report, strategy phase.Strategy) {
	t.Helper()
	want := phase.Walk(strategy)
	if strategy == phase.Mirror { // the rate limiter's go along
		want = append(want, phase.Hold, phase.Move)
	}
	var sum int64
	got := make(map[string]bool)
	for _, p := range r.Phases {
		got[p.Phase] = true
		sum += p.Ops
		if p.Ops == 0 || p.P50 <= 0 || p.P99 < p.P50 {
			t.Errorf("phase %s: %d operations, p50 %v, p99 %v", p.Phase, p.Ops, p.P50, p.P99)
		}
	}
	for _, p := range want {
		if !got[p.String()] {
			t.Errorf("nothing was done in phase %s", p)
		}
	}
	if len(got) != len(want) || sum != r.Ops {
		t.Errorf("phases %v with %d operations, want %v with %d", slices.Sorted(maps.Keys(got)), sum, want, r.Ops)
	}
}

// TestTheFlipLoses shows that the checker finds what a migration loses.
func TestTheFlipLoses(t *testing.T) {
	for _, where := range []string{"embedded", "server"} {
		t.Run(where, func(t *testing.T) {
			o := Options{Naive: true, Duration: short, Instances: 3, Keys: fewKeys}
			if where == "server" {
				o.URL = plan.URL(redistest.Shared(t).URL())
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost == 0 || r.Stale == 0 || r.Revived == 0 || !r.Violated() {
				t.Errorf("seed %d: lost %d, stale %d, revived %d; want some of each", r.Seed, r.Lost, r.Stale, r.Revived)
			}
			if r.Strategy != "naive" || len(r.Violations) == 0 {
				t.Errorf("strategy %q with %d violations told", r.Strategy, len(r.Violations))
			}
		})
	}
}

// both tells two observers.
type both struct{ a, b Observer }

func (o both) Started(s Setup) { o.a.Started(s); o.b.Started(s) }
func (o both) Stepped(s Step)  { o.a.Stepped(s); o.b.Stepped(s) }
func (o both) Swept(s Sweep)   { o.a.Swept(s); o.b.Swept(s) }
func (o both) Checked(c Check) { o.a.Checked(c); o.b.Checked(c) }
func (o both) Ticked(t Tick)   { o.a.Ticked(t); o.b.Ticked(t) }

// TestOutputs has one demo told as lines and as JSON Lines.
func TestOutputs(t *testing.T) {
	var out, people bytes.Buffer
	lines, plain := NewJSON(&out), NewPlain(&people)
	r, err := Run(t.Context(), Options{Observer: both{lines, plain}, Duration: short, Seed: 7, Instances: 2, Keys: fewKeys})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lines.Report(r), r.Print(&people)); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, out.String())
	wantWalk(t, people.String())
}

// wantJSON holds the contract of --json.
func wantJSON(t *testing.T, out string) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	types := make(map[string]int)
	for _, line := range all[:len(all)-1] {
		var head struct{ Type string }
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		types[head.Type]++
	}
	// Five steps of two instances there and as many back; the sweeps of both ways.
	if types["setup"] != 1 || types["step"] != 20 || types["check"] != 2 || types["sweep"] < 8 || types["tick"] == 0 || types[""] != 0 {
		t.Errorf("lines by type: %v", types)
	}
	var last map[string]json.RawMessage
	if err := json.Unmarshal([]byte(all[len(all)-1]), &last); err != nil {
		t.Fatal(err)
	}
	want := []string{"fallbacks", "keys_moved", "lost", "ops", "phases", "revived", "seconds", "seed", "stale", "strategy"}
	if got := slices.Sorted(maps.Keys(last)); !slices.Equal(got, want) {
		t.Errorf("last line has %q, want %q", got, want)
	}
	var phases []map[string]any
	if err := json.Unmarshal(last["phases"], &phases); err != nil || len(phases) == 0 {
		t.Fatalf("phases %s: %v", last["phases"], err)
	}
	if got := slices.Sorted(maps.Keys(phases[0])); !slices.Equal(got, []string{"ops", "p50_us", "p99_us", "phase"}) {
		t.Errorf("a phase has %q", got)
	}
	if string(last["seed"]) != "7" || string(last["strategy"]) != `"mirror"` {
		t.Errorf("seed %s, strategy %s", last["seed"], last["strategy"])
	}
}

// TestOthersKeys: a database that is not empty is refused, and with a prefix the keys of others are
// neither seen nor touched.
func TestOthersKeys(t *testing.T) {
	s := redistest.Shared(t)
	bare := s.Client()
	others := map[string]string{"secure_session:00001": "theirs", "cw:demo:secure_session:00001": "theirs too", "rekey:demo:phase": "x"}
	for name, value := range others {
		if err := bare.Set(t.Context(), name, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{URL: plan.URL(s.URL()), Duration: 300 * time.Millisecond, Instances: 2, Keys: fewKeys}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "3 keys") || !strings.Contains(err.Error(), "--keys-prefix") {
		t.Errorf("a database with keys: %v", err)
	}
	o.KeysPrefix = "secure_"
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), `"secure_session:00001"`) {
		t.Errorf("a prefix that others use: %v", err)
	}
	for _, o.KeysPrefix = range []string{"demo:", "{d}*[x]é "} {
		r, err := Run(t.Context(), o)
		if err != nil || r.Violated() || r.KeysMoved == 0 {
			t.Errorf("with prefix %q: %v, %v", o.KeysPrefix, err, r.Violations)
		}
	}
	got := make(map[string]string)
	for _, name := range bare.Keys(t.Context(), "*").Val() {
		got[name] = bare.Get(t.Context(), name).Val()
	}
	if !maps.Equal(got, others) {
		t.Errorf("keys after it: %q, want %q", got, others)
	}
}

// onStep calls a function at the first instance's step to a phase.
type onStep struct {
	Nobody
	to string
	do func()
}

func (o onStep) Stepped(s Step) {
	if s.Instance == 0 && s.To == o.to {
		o.do()
	}
}

func TestInterrupted(t *testing.T) {
	s := redistest.Shared(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, Options{URL: plan.URL(s.URL()), Duration: short, Instances: 2, Keys: fewKeys, Observer: onStep{to: "dual", do: cancel}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if r.Ops == 0 || len(r.Phases) < 2 || r.Violated() {
		t.Errorf("report %+v, want what was done so far", r)
	}
	if n := s.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys were left", n)
	}
}

// TestMuchThatIsNotOurs: the clean-up goes over all that the server holds, however long that takes.
func TestMuchThatIsNotOurs(t *testing.T) {
	defer func(before time.Duration) { commandTimeout = before }(commandTimeout)
	commandTimeout = 500 * time.Millisecond
	s := redistest.Shared(t)
	bare := s.Client()
	if err := bare.Eval(t.Context(), `for i = 1, 60000 do redis.call('SET', 'other:' .. i, '') end return redis.call('SET', 'demo:secure_session:1', 'ours')`, nil).Err(); err != nil {
		t.Fatal(err)
	}
	link := redistest.SlowLink(t, s.Addr())
	o := Options{URL: plan.URL("redis://" + link.Addr()), KeysPrefix: "demo:", Strategy: phase.Mirror}
	p, err := rulePlan(o, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &server{url: o.URL, admin: redis.NewClient(&redis.Options{Addr: link.Addr()})}
	defer slow.close()
	link.Delay(redistest.ToClient, 20*time.Millisecond) // sixty pages take longer than one command may
	if err := slow.remove(t.Context(), o.KeysPrefix, p); err != nil {
		t.Error(err)
	}
	if n := bare.DBSize(t.Context()).Val(); n != 60000 {
		t.Errorf("%d keys are there, want the 60000 of others", n)
	}
}

func TestServerGone(t *testing.T) {
	s := redistest.Start(t)
	begin := time.Now()
	r, err := Run(t.Context(), Options{URL: plan.URL(s.URL()), Duration: time.Minute, Instances: 2, Keys: fewKeys, Observer: onStep{to: "guard", do: s.Kill}})
	if err == nil || !strings.Contains(err.Error(), "failed after") || !strings.Contains(err.Error(), s.URL()) || errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want one that names the server", err)
	}
	if !errors.Is(err, ErrLeft) {
		t.Errorf("error %v does not say that keys were left", err)
	}
	if r.Ops == 0 || r.Violated() {
		t.Errorf("report %+v, want what was done so far, and no violation", r)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v to notice", took)
	}
}

func TestServerNotThere(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	_, err := Run(t.Context(), Options{URL: plan.URL(s.URL())})
	if err == nil || !strings.Contains(err.Error(), "cannot be used") || !strings.Contains(err.Error(), s.URL()) {
		t.Errorf("error %v, want one that names the server", err)
	}
	_, err = Run(t.Context(), Options{URL: "redis://user:secret@127.0.0.1:1/0?nosuch=1"})
	if !errors.Is(err, ErrOptions) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one about the URL, without its password", err)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Instances: 1}, {Instances: 1000}, {Duration: -1}, {Duration: 2 * time.Hour},
		{Naive: true, Strategy: phase.Mirror}, {KeysPrefix: "a\nb"}, {KeysPrefix: strings.Repeat("x", 200)},
	} {
		if _, err := Run(t.Context(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// The demo's plan is the one of the reference application, as far as it goes.
func TestPlanIsTheClassroomsPlan(t *testing.T) {
	theirs, err := plan.Load("../../plan/testdata/classwaves.yaml", plan.WithEnvironment(environment))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := rulePlan(Options{Strategy: phase.Mirror}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range ours.Rules {
		i, ok := theirs.Index(rule.Name)
		if !ok || theirs.Rules[i].Strategy != rule.Strategy || theirs.Rules[i].LegacyText != rule.LegacyText || theirs.Rules[i].TargetText != rule.TargetText {
			t.Errorf("rule %s is another in the classroom's plan", rule.Name)
		}
	}
	if len(ours.Rules) != 11 {
		t.Errorf("%d kinds of keys, want 11", len(ours.Rules))
	}
	for i := range kinds {
		name := kinds[i].name("", 7)
		if rule, target := ours.Names().Find([]byte(name)); rule != i || target {
			t.Errorf("%s is no legacy name of rule %s", name, kinds[i].rule)
		}
	}
}

// wantWalk holds that people are told the whole way in its order.
func wantWalk(t *testing.T, out string) {
	t.Helper()
	at := 0
	for _, want := range []string{
		"rekey demo · strategy mirror", "legacy → guard → dual → settled → sealed → prefixed, and back",
		"guard      all 2 instances", "dual  ", "backfill   10 rules", "verify", "settled", "sealed", "cleanup", "relocate   rule rate_limits", "prefixed",
		"640 keys read and compared prefixed: all as they must be", "sealed", "settled", "dual", "reverse    10 rules", "guard", "legacy", "purge",
		"beside legacy", "lost 0 · stale 0 · revived 0",
	} {
		next := strings.Index(out[at:], want)
		if next < 0 {
			t.Fatalf("no %q after byte %d of\n%s", want, at, out)
		}
		at += next
	}
}
