package intercept_test

import (
	"net"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// testRules are two rules, so that commands can meet keys in different phases:
// a:{id} and b:{id}, and everything else under none.
func testRules(t testing.TB) *intercept.Rules {
	t.Helper()
	var pairs []*keyname.Pair
	for _, name := range []string{"a", "b"} {
		legacy, err := keyname.Parse(name+":{id}", "test")
		if err != nil {
			t.Fatal(err)
		}
		target, err := keyname.Parse("cw:{env}:"+name+":{id}", "test")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := keyname.NewPair(name, legacy, target, false)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair)
	}
	set, err := keyname.NewSet(pairs, []byte("rekey:test:"))
	if err != nil {
		t.Fatal(err)
	}
	rules := &intercept.Rules{Set: set, Stats: intercept.NewStats(set.Len())}
	setPhases(rules, phase.Legacy, phase.Legacy)
	return rules
}

func setPhases(rules *intercept.Rules, phases ...phase.Phase) {
	var version uint64 = 1
	if t := rules.Table(); t != nil {
		version = t.Version + 1
	}
	rules.SetTable(&intercept.Table{Version: version, Phases: phases})
}

// dial opens a rewriting connection to the server.
func dial(t testing.TB, server *redistest.Server, rules *intercept.Rules) net.Conn {
	t.Helper()
	conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// allPhases are those of both strategies.
var allPhases = []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Settled, phase.Drain, phase.Sealed, phase.Prefixed, phase.Hold, phase.Move}

// texts are the strings of an array.
func texts(v resp.Value) (out []string) {
	for _, e := range v.Elems {
		out = append(out, string(e.Str))
	}
	return out
}
