package difftest

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// world is the two servers, and what can be known of them before a sequence runs.
type world struct {
	t            testing.TB
	bare, engine *redistest.Server
	// admin are connections to the two for the test's own commands.
	adminBare, adminEngine *wire
	known                  map[string]bool // commands of the server
	payloads               map[byte]string
	set                    *keyname.Set
	connect                func(*intercept.Rules) net.Conn // as in setting
}

// fixtureDB is the database in which each server keeps the fixtures to copy from.
const fixtureDB = "9"

func newWorld(t testing.TB) *world {
	w := &world{t: t, bare: redistest.Start(t), engine: redistest.Start(t), known: make(map[string]bool), payloads: make(map[byte]string)}
	w.adminBare, w.adminEngine = newWire(dialBare(t, w.bare)), newWire(dialBare(t, w.engine))
	t.Cleanup(w.adminBare.close)
	t.Cleanup(w.adminEngine.close)
	for _, v := range must(t, w.adminBare, "COMMAND", "LIST").Elems {
		w.known[strings.Replace(string(v.Str), "|", " ", 1)] = true
	}
	for _, admin := range []*wire{w.adminBare, w.adminEngine} {
		for _, setting := range settings {
			must(t, admin, append([]string{"CONFIG", "SET"}, strings.Fields(setting)...)...)
		}
		must(t, admin, "FUNCTION", "LOAD", library)
		must(t, admin, "SCRIPT", "LOAD", texts["@script-incr"])
		must(t, admin, "SCRIPT", "LOAD", texts["@script-get"])
		must(t, admin, "SELECT", fixtureDB)
		for _, name := range loaded() {
			for _, command := range fixtureOf(name, name) {
				must(t, admin, command...)
			}
		}
	}
	for i := range types {
		w.payloads[types[i]] = string(must(t, w.adminBare, "DUMP", "a:"+string(types[i])+"1").Str)
	}
	must(t, w.adminBare, "SELECT", "0")
	must(t, w.adminEngine, "SELECT", "0")
	w.set = ruleSet(t)
	return w
}

// knows says that the server has a call's command, in that form.
func (w *world) knows(line string) bool {
	since72 := strings.HasSuffix(line, " withscore")
	return w.known[nameOf(strings.Fields(line))] && (!since72 || w.bare.IsValkey() || w.bare.AtLeast(7, 2))
}

// ruleSet are two rules, a:{id} and b:{id}. Names that begin otherwise have none.
func ruleSet(t testing.TB) *keyname.Set {
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
	return set
}

// rules are one instance's: each of the two rules in a phase.
func (w *world) rules(a, b phase.Phase) *intercept.Rules {
	r := &intercept.Rules{Set: w.set, Stats: intercept.NewStats(w.set.Len())}
	r.SetTable(&intercept.Table{Version: 1, Phases: []phase.Phase{a, b}})
	return r
}

// copyFixtures puts a fixture under each of its names.
//
// ARGV: fixture, name, ...
const copyFixtures = `redis.call('FLUSHDB') redis.call('SELECT', 9)
for i=1,#ARGV,2 do redis.call('COPY', ARGV[i], ARGV[i+1], 'DB', 0) end`

// load gives both servers the data that a sequence begins with: for the application equal, on the
// engine's server under names that the phases of each rule allow.
func (w *world) load(rng *rand.Rand, a, b pair) error {
	return w.loadUnder(a, b, func(p pair) placement {
		under := p.placements()
		return under[rng.IntN(len(under))]
	})
}

// loadTwice puts the data under both names wherever they may be.
func (w *world) loadTwice(_ *rand.Rand, a, b pair) error {
	return w.loadUnder(a, b, func(p pair) placement { return p.placements()[len(p.placements())-1] })
}

func (w *world) loadUnder(a, b pair, under func(pair) placement) error {
	bare, engine := []string{"EVAL", copyFixtures, "0"}, []string{"EVAL", copyFixtures, "0"}
	for _, name := range loaded() {
		bare = append(bare, name, name)
		switch name[0] {
		case 'a', 'b':
			p := a
			if name[0] == 'b' {
				p = b
			}
			place := under(p)
			if place&underLegacy != 0 {
				engine = append(engine, name, name)
			}
			if place&underTarget != 0 {
				engine = append(engine, name, targetOf(name))
			}
		default:
			engine = append(engine, name, name)
		}
	}
	if _, err := ask(w.adminBare, bare...); err != nil {
		return err
	}
	_, err := ask(w.adminEngine, engine...)
	return err
}

// loadVectors adds the vector sets, which the server cannot copy.
func (w *world) loadVectors(a, b pair) error {
	for _, name := range []string{"a:w1", "b:w1", "n:w1"} {
		for _, command := range fixtureOf(name, name) {
			if _, err := ask(w.adminBare, command...); err != nil {
				return err
			}
		}
		there := name
		if p := a; name[0] != 'n' {
			if name[0] == 'b' {
				p = b
			}
			if p.placements()[0]&underTarget != 0 {
				there = targetOf(name)
			}
		}
		for _, command := range fixtureOf(name, there) {
			if _, err := ask(w.adminEngine, command...); err != nil {
				return err
			}
		}
	}
	return nil
}
