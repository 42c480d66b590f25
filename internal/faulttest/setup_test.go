package faulttest

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// replyWithin bounds every wait for what must come.
const replyWithin = 20 * time.Second

func TestMain(m *testing.M) { redistest.Main(m) }

// testPlan has one rule of each strategy, so that a key's prefix chooses the strategy.
const testPlan = `
version: 1
environment: test
rules:
  - {name: mirror, legacy: "mi:{id...}", target: "cw:{env}:mi:{id...}", strategy: mirror}
  - {name: move, legacy: "mo:{id...}", target: "cw:{env}:mo:{id...}", strategy: move}
`

// stage is where an instance is: one phase of one strategy.
type stage struct {
	strategy phase.Strategy
	phase    phase.Phase
}

func (s stage) String() string { return s.strategy.String() + "/" + s.phase.String() }

func (s stage) rule() string { return s.strategy.String() }

// legacy and target are the two names of the key that the application calls by the first.
func (s stage) legacy(id string) string {
	if s.strategy == phase.Mirror {
		return "mi:" + id
	}
	return "mo:" + id
}

func (s stage) target(id string) string { return "cw:test:" + s.legacy(id) }

func (s stage) phases() map[string]phase.Phase { return map[string]phase.Phase{s.rule(): s.phase} }

// home is the name under which a key stands in the stage when it has one copy.
func (s stage) home(id string) string {
	switch s.phase {
	case phase.Legacy, phase.Guard, phase.Hold, phase.Dual, phase.Drain:
		return s.legacy(id)
	}
	return s.target(id)
}

// copies are the names under which a key stands in the stage after its first write.
func (s stage) copies(id string) []string {
	switch s.phase {
	case phase.Legacy, phase.Guard, phase.Hold:
		return []string{s.legacy(id)}
	case phase.Dual, phase.Settled:
		return []string{s.legacy(id), s.target(id)}
	}
	return []string{s.target(id)}
}

var mirrorDual = stage{phase.Mirror, phase.Dual}

// stages are all phases of both strategies.
func stages() []stage {
	var all []stage
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, p := range phase.Of(s) {
			all = append(all, stage{s, p})
		}
	}
	return all
}

// neighbours are the pairs of stages that may stand side by side, each in both orders.
func neighbours() [][2]stage {
	var all [][2]stage
	for _, a := range stages() {
		for _, p := range phase.Of(a.strategy) {
			if phase.Beside(a.strategy, a.phase, p) {
				all = append(all, [2]stage{a, {a.strategy, p}})
			}
		}
	}
	return all
}

// open makes an instance that ends with the test and must not have seen a divergence.
func open(t testing.TB, opts ...rekey.Option) *rekey.Rekey {
	t.Helper()
	r := unchecked(t, opts...)
	t.Cleanup(func() {
		for rule, s := range r.Stats().Rules {
			if s.Divergences != 0 {
				t.Errorf("rule %s: %d divergences, want none", rule, s.Divergences)
			}
		}
	})
	return r
}

// unchecked is open for a test that breaks the rules on purpose.
func unchecked(t testing.TB, opts ...rekey.Option) *rekey.Rekey {
	t.Helper()
	p, err := plan.Parse("test.yaml", []byte(testPlan), os.LookupEnv)
	must(t, err)
	r, err := rekey.Open(t.Context(), p, opts...)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

// in opens an instance pinned to a stage.
func in(t testing.TB, s stage) *rekey.Rekey {
	t.Helper()
	return open(t, rekey.WithPhases(s.phases()))
}

// dial opens a connection of an instance, which ends with the test.
func dial(t testing.TB, r *rekey.Rekey, addr string) net.Conn {
	t.Helper()
	conn, err := r.Dialer(nil)(t.Context(), "tcp", addr)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // a test may have closed it
	return conn
}

// connect opens one for transcripts.
func connect(t testing.TB, r *rekey.Rekey, addr string) *redistest.Conn {
	t.Helper()
	return redistest.NewConn(t, dial(t, r, addr))
}

// follow sets the phases of a source and waits until the instance follows them. Commands of the
// phases before may be under way still.
func follow(t testing.TB, r *rekey.Rekey, source *rekey.Manual, phases map[string]phase.Phase) {
	t.Helper()
	source.Set(phases)
	redistest.WaitFor(t, 20*time.Second, func() bool {
		now := r.Phases()
		for rule, p := range phases {
			if now[rule] != p {
				return false
			}
		}
		return true
	})
}

// reached waits until nothing of earlier phases is under way.
func reached(t testing.TB, r *rekey.Rekey) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, r.WaitReached(ctx))
}

// want sends one command and compares its reply, as text.
func want(t testing.TB, c *redistest.Conn, reply string, words ...string) {
	t.Helper()
	if got := text(c.Do(words...)); got != reply {
		t.Errorf("%s: got %s, want %s", strings.Join(words, " "), got, reply)
	}
}

// wantPrefix compares how the reply begins.
func wantPrefix(t testing.TB, c *redistest.Conn, reply string, words ...string) {
	t.Helper()
	if got := text(c.Do(words...)); !strings.HasPrefix(got, reply) {
		t.Errorf("%s: got %s, want %s...", strings.Join(words, " "), got, reply)
	}
}

// transcript sends commands by hand: "GET k > v". Of an error its first word is enough.
func transcript(t testing.TB, c *redistest.Conn, lines ...string) {
	t.Helper()
	for _, line := range lines {
		words, reply, ok := strings.Cut(line, " > ")
		if !ok {
			t.Fatalf("%q has no reply", line)
		}
		v := c.Do(strings.Fields(words)...)
		if got := text(v); got != reply && !(v.IsError() && strings.HasPrefix(got, reply+" ")) {
			t.Errorf("%s: got %s, want %s", words, got, reply)
		}
	}
}

// text writes a reply for people: OK, 1, nil, "value", [a b], and errors as they are.
func text(v resp.Value) string {
	switch {
	case v.Null:
		return "nil"
	case v.Elems != nil || v.Type == '*' || v.Type == '>' || v.Type == '%' || v.Type == '~':
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = text(e)
		}
		return "[" + strings.Join(parts, " ") + "]"
	case v.Type == ':':
		return string(v.Append(nil)[1 : len(v.Append(nil))-2])
	}
	return string(v.Str)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// divergences of the rule of a stage.
func stats(r *rekey.Rekey, s stage) rekey.RuleStats { return r.Stats().Rules[s.rule()] }
