package sweep_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// actions are what a writer does to a key of its own, by the type of the key: K is the key, O another one of the type, N a
// number that grows, F a time in the far future, and S one within milliseconds, which is waited for. Each gives the same
// result on equal data, for the bare server is asked the same about a key that no rule matches.
var actions = map[string][]string{
	"string": {"SET K N", "SET K N PXAT F", "APPEND K N", "GETDEL K", "MSET K N O N", "SETRANGE K 3 N", "GET K"},
	"hash":   {"HSET K N v", "HINCRBY K c 1", "HDEL K c", "HGETALL K"},
	"list":   {"RPUSH K N", "LMOVE K O LEFT RIGHT", "LTRIM K -5 -1", "LRANGE K 0 -1"},
	"set":    {"SADD K N m", "SMOVE K O m", "SCARD K"},
	"zset":   {"ZADD K N N", "ZINCRBY K 2 m", "ZPOPMIN K", "ZRANGE K 0 -1 WITHSCORES"},
	"stream": {"XADD K N-1 f v", "XTRIM K MAXLEN 3", "XRANGE K - +"},
}

var ofEveryType = []string{"DEL K", "UNLINK K O", "EXISTS K K", "PEXPIREAT K F", "PEXPIREAT K S", "PERSIST K", "RENAME K O", "COPY K O REPLACE"}

// deed is one action on one of a writer's keys.
type deed struct {
	kind, action string
	key          int
}

const writersAtOnce, keysOfAType = 3, 2

var deeds = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
	kind := rapid.SampledFrom(slices.Sorted(maps.Keys(actions))).Draw(t, "type")
	all := slices.Concat(actions[kind], actions[kind], ofEveryType)
	return deed{kind, rapid.SampledFrom(all).Draw(t, "action"), rapid.IntRange(0, keysOfAType-1).Draw(t, "key")}
}), 10, 40)

// peer is a connection whose replies are compared byte for byte.
type peer struct {
	conn net.Conn
	r    *bufio.Reader
}

func (p peer) do(words []string) ([]byte, error) {
	args := make([][]byte, len(words))
	for i, word := range words {
		args[i] = []byte(word)
	}
	if _, err := p.conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		return nil, err
	}
	return redistest.ReadReply(p.r)
}

// writer does its deeds again and again, on the keys of the rule through the engine and on its own through nothing.
type writer struct {
	name         string // with the prefix of the rule
	engine, bare peer
	deeds        []deed
	n            int
}

// bareName is under no rule.
func bareName(name string) string { return "bare:" + name }

func (w *writer) key(kind string, i int) string {
	return fmt.Sprintf("%s:%s:%d {*}", w.name, kind, i%keysOfAType)
}

// act does one deed both ways.
func (w *writer) act(d deed) error {
	w.n++
	near := time.Now().Add(time.Duration(1+w.n%9) * time.Millisecond).UnixMilli()
	words := func(rename func(string) string) []string {
		out := strings.Fields(d.action)
		for i, word := range out[1:] {
			switch word {
			case "K":
				word = rename(w.key(d.kind, d.key))
			case "O":
				word = rename(w.key(d.kind, d.key+1))
			case "F":
				word = fmt.Sprint(4102444800000 + w.n)
			case "S":
				word = fmt.Sprint(near)
			default:
				word = strings.Replace(word, "N", strconv.Itoa(w.n), 1)
			}
			out[i+1] = word
		}
		return out
	}
	if err := w.same(d, words(func(s string) string { return s }), words(bareName)); err != nil || !strings.HasSuffix(d.action, " S") {
		return err
	}
	for {
		left, err := w.bare.do([]string{"EXISTS", bareName(w.key(d.kind, d.key))})
		if err != nil {
			return err
		}
		if string(left) == ":0\r\n" {
			return w.same(d, []string{"EXISTS", w.key(d.kind, d.key)}, []string{"EXISTS", bareName(w.key(d.kind, d.key))})
		}
	}
}

func (w *writer) same(d deed, through, direct []string) error {
	want, err := w.bare.do(direct)
	if err != nil {
		return fmt.Errorf("%q: %w", direct, err)
	}
	got, err := w.engine.do(through)
	if err != nil {
		return fmt.Errorf("%q: %w", through, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s of %s: %q: got %q, the bare server says %q", d.action, d.kind, through, got, want)
	}
	return nil
}

// crowd is some writers in one phase at a time.
type crowd struct {
	rules   *intercept.Rules
	version uint64
	rule    int
	writers []*writer
	still   *writer // writes before the sweep only
	meddler *writer // writes in the sweep's own moments, see meddle
	done    atomic.Int64
}

func gather(t *testing.T, rt *rapid.T, server *redistest.Server, rule string) *crowd {
	p := parse(t, testPlan)
	c := &crowd{rules: &intercept.Rules{Set: p.Names(), Stats: intercept.NewStats(p.Names().Len())}}
	c.rule, _ = p.Index(rule)
	c.enter(phase.Legacy)
	join := func(name string) *writer {
		engine, bare := intercept.NewConn(server.Dial(), c.rules, intercept.Hooks{}), server.Dial()
		rt.Cleanup(func() { _, _ = engine.Close(), bare.Close() }) // nothing is under way
		return &writer{name: prefixes[rule] + name, engine: peer{engine, bufio.NewReader(engine)}, bare: peer{bare, bufio.NewReader(bare)}}
	}
	for i := range writersAtOnce {
		w := join(strconv.Itoa(i))
		w.deeds = deeds.Draw(rt, "deeds")
		c.writers = append(c.writers, w)
	}
	c.still, c.meddler = join("still"), join("meddler")
	c.meddler.deeds = deeds.Draw(rt, "deeds of the meddler")
	return c
}

func (c *crowd) all() []*writer { return append(slices.Clone(c.writers), c.still, c.meddler) }

// meddle is what the sweep waits for before it sends something: now and then that is about a key of the meddler, who does
// something to this very key first. So what a sweep reads changes before it acts on it, however short that time is.
func (c *crowd) meddle(every int, failed *error) func(sent []byte) {
	sends, at := 0, 0
	times := make(map[string]int) // a key that changes whenever it is looked at is named, rightly
	return func(sent []byte) {
		w := c.meddler
		for range w.deeds {
			at++
			d := w.deeds[at%len(w.deeds)]
			name := w.key(d.kind, d.key)
			if times[name] == 5 || !bytes.Contains(sent, []byte(name)) {
				continue
			}
			if sends++; sends%every == 0 && *failed == nil {
				times[name]++
				if *failed = w.act(d); *failed == nil {
					c.done.Add(1)
				}
			}
			return
		}
	}
}

var prefixes = map[string]string{"things": "thing:", "limits": "limit:"}

// enter takes all of them into a phase while nothing is under way.
func (c *crowd) enter(p phase.Phase) {
	phases := []phase.Phase{phase.Legacy, phase.Legacy, phase.Legacy}
	phases[c.rule] = p
	c.version++
	c.rules.SetTable(&intercept.Table{Version: c.version, Phases: phases})
}

// play lets every writer do all its deeds once, and then go on while do runs. It returns how many were done meanwhile.
func (c *crowd) play(rt *rapid.T, do func()) int64 {
	stop := make(chan struct{})
	errs := make(chan error, len(c.writers))
	var all sync.WaitGroup
	for _, w := range c.writers {
		all.Go(func() {
			for i := 0; ; i++ {
				if i >= len(w.deeds) {
					select {
					case <-stop:
						return
					default:
					}
				}
				if err := w.act(w.deeds[i%len(w.deeds)]); err != nil {
					errs <- err
					return
				}
				c.done.Add(1)
			}
		})
	}
	before := c.done.Load()
	func() {
		defer all.Wait() // also where do fails the check
		defer close(stop)
		do()
	}()
	select {
	case err := <-errs:
		rt.Fatalf("a writer: %v", err)
	default:
	}
	return c.done.Load() - before
}

// stand is which names a key has when the writers have stopped. still: no writer ever touched it beside the sweep.
type stand struct{ legacy, target, still bool }

func noTarget(s stand) bool { return !s.target }
func noLegacy(s stand) bool { return !s.legacy }
func copied(s stand) bool   { return s.target }
func both(s stand) bool     { return s.legacy && s.target }
func undone(s stand) bool   { return s.target && (s.legacy || !s.still) }

func same(name string) string { return name }

// wording is words for a sweep.
type wording func(*sweep.Options)

func plain(*sweep.Options)       {}
func repair(o *sweep.Options)    { o.Repair = true }
func intoTrash(o *sweep.Options) { o.Trash = time.Hour }
func undo(o *sweep.Options)      { o.Undo = true }

// sweepsBeside are the sweeps, one after the other beside the writers, and what they leave.
var sweepsBeside = []struct {
	kind   sweep.Kind
	asked  []wording
	phase  phase.Phase
	before []phase.Phase // in one of which the data is made
	plant  bool          // and then differences
	read   func(string) string
	right  func(stand) bool
	rested []wording // then, when the writers have stopped
}{
	{sweep.Purge, []wording{plain}, phase.Guard, []phase.Phase{phase.Legacy, phase.Guard}, true, same, noTarget, nil},
	{sweep.Backfill, []wording{plain}, phase.Dual, []phase.Phase{phase.Guard, phase.Dual}, false, target, copied, nil},
	{sweep.Backfill, []wording{plain}, phase.Drain, []phase.Phase{phase.Guard, phase.Dual}, false, target, copied, nil},
	{sweep.Verify, []wording{plain}, phase.Dual, []phase.Phase{phase.Dual}, false, target, both, nil},
	{sweep.Verify, []wording{plain}, phase.Settled, []phase.Phase{phase.Dual, phase.Settled}, false, target, both, nil},
	{sweep.Verify, []wording{plain}, phase.Sealed, []phase.Phase{phase.Dual, phase.Settled, phase.Sealed}, false, target, copied, nil},
	{sweep.Verify, []wording{repair}, phase.Dual, []phase.Phase{phase.Dual}, true, target, both, []wording{repair, plain}},
	{sweep.Verify, []wording{repair}, phase.Settled, []phase.Phase{phase.Dual, phase.Settled}, true, target, both, []wording{repair, plain}},
	{sweep.Reverse, []wording{plain}, phase.Dual, []phase.Phase{phase.Drain, phase.Dual, phase.Sealed}, false, same, both, nil},
	{sweep.Cleanup, []wording{plain}, phase.Sealed, []phase.Phase{phase.Dual, phase.Settled}, false, target, noLegacy, nil},
	{sweep.Cleanup, []wording{plain}, phase.Drain, []phase.Phase{phase.Dual}, false, target, noLegacy, nil},
	{sweep.Cleanup, []wording{intoTrash}, phase.Sealed, []phase.Phase{phase.Dual, phase.Settled}, false, target, noLegacy, nil},
	{sweep.Cleanup, []wording{intoTrash, undo}, phase.Sealed, []phase.Phase{phase.Dual, phase.Settled}, false, target, undone, nil},
	{sweep.Cleanup, []wording{intoTrash, undo}, phase.Drain, []phase.Phase{phase.Dual}, false, target, undone, nil},
	{sweep.Cleanup, []wording{intoTrash, undo, plain}, phase.Sealed, []phase.Phase{phase.Dual}, false, target, noLegacy, nil},
	{sweep.Relocate, []wording{plain}, phase.Move, []phase.Phase{phase.Hold, phase.Move}, false, target, noLegacy, nil},
	{sweep.Reverse, []wording{plain}, phase.Hold, []phase.Phase{phase.Move, phase.Hold}, false, same, noTarget, nil},
}

// TestSweepsBesideWriters: in the phase of each sweep, while writers create, change, expire and delete the very keys, nobody
// is ever answered otherwise than by a bare server. When they stop, every key is what the bare server's is, under the names
// that the sweep says, and equal where it has two. -rapid.checks asks for more than a few tries of each sweep.
func TestSweepsBesideWriters(t *testing.T) {
	for i, c := range sweepsBeside {
		t.Run(fmt.Sprintf("%v in %v %d", c.kind, c.phase, i), func(t *testing.T) {
			server := redistest.Shared(t)
			client := server.Client()
			rule := "things"
			if slices.Contains(phase.Of(phase.Relocate), c.phase) {
				rule = "limits"
			}
			p := parse(t, testPlan)
			var written, changed int64
			rapid.Check(t, func(rt *rapid.T) {
				do(t, client, "FLUSHALL")
				app := gather(t, rt, server, rule)
				app.enter(rapid.SampledFrom(c.before).Draw(rt, "before"))
				for kind, all := range actions {
					if err := app.still.act(deed{kind: kind, action: all[0]}); err != nil {
						rt.Fatal(err)
					}
				}
				for _, d := range app.meddler.deeds {
					if err := app.meddler.act(d); err != nil {
						rt.Fatal(err)
					}
				}
				app.play(rt, func() {})
				app.enter(c.phase)
				if c.plant {
					app.plant(t, rt, client, c.kind)
				}
				var failed error
				meddled := interrupted(server, app.meddle(rapid.IntRange(1, 3).Draw(rt, "every"), &failed))
				o := sweep.Options{Client: meddled, Plan: p, Rule: rule, Kind: c.kind, Phase: c.phase, Execute: true, Examples: 3}
				o.Page = rapid.SampledFrom([]int{1, 3, 10, 300}).Draw(rt, "page")
				var last sweep.Options
				var r sweep.Result
				all := func(asked []wording) {
					for _, words := range asked {
						last = o
						words(&last)
						var err error
						if r, err = sweep.Run(t.Context(), last); err != nil {
							rt.Fatal(err)
						}
					}
				}
				written += app.play(rt, func() { all(c.asked) })
				changed += r.Changed
				// A difference that was planted may have got away from a repair: a COPY or RENAME of the application's takes
				// both names of a key to another one, of which the sweep has been.
				o.Client = client
				all(c.rested)
				if failed != nil {
					rt.Fatalf("the meddler: %v", failed)
				}
				if last.Undo {
					delete(r.Problems, sweep.Discarded) // what was written since stays in the trash
				} else {
					for _, g := range c.kind.Gates(p.Rules[app.rule].Strategy, c.phase) {
						if holds, why := r.Verdict.Holds(g); !holds {
							rt.Errorf("gate %v does not hold: %s", g, why)
						}
					}
				}
				if r.Found() != 0 {
					rt.Errorf("found %v: %+v", r.Problems, r.Examples)
				}
				for _, w := range app.all() {
					for _, name := range w.keys() {
						now := stand{client.Exists(t.Context(), name).Val() == 1, client.Exists(t.Context(), target(name)).Val() == 1, w == app.still}
						if (now.legacy || now.target) && !c.right(now) {
							rt.Errorf("%q is there: legacy %v, target %v", name, now.legacy, now.target)
						}
						if l, p := contents(t, client, name), contents(t, client, target(name)); now.legacy && now.target && l != p {
							rt.Errorf("%q differs: legacy %s, target %s", name, l, p)
						}
						if got, want := contents(t, client, c.read(name)), contents(t, client, bareName(name)); got != want {
							rt.Errorf("%q: got %s, want %s", c.read(name), got, want)
						}
					}
				}
				o.Kind, o.Client = sweep.Verify, client
				if r, err := sweep.Run(t.Context(), o); err != nil || r.Found() != 0 {
					rt.Errorf("verify found %v: %+v, %v", r.Problems, r.Examples, err)
				}
			})
			t.Logf("%d deeds beside the sweeps", written)
			if written == 0 {
				t.Error("nobody wrote while the sweeps ran: they show nothing")
			}
			if c.plant && changed == 0 {
				t.Error("nothing was mended while somebody wrote")
			}
		})
	}
}

// keys are the names of all keys of a writer.
func (w *writer) keys() (names []string) {
	for kind := range actions {
		for i := range keysOfAType {
			names = append(names, w.key(kind, i))
		}
	}
	return names
}

// plant makes leftovers for purge to remove, and for verify legacy copies that are not what the targets are. A copy of
// another value is planted only where no action removes a key that has become empty: it would bring the key back, before
// any repair.
func (c *crowd) plant(t *testing.T, rt *rapid.T, client *redis.Client, kind sweep.Kind) {
	for _, w := range c.all() {
		for _, name := range w.keys() {
			switch harm := rapid.IntRange(0, 5).Draw(rt, "harm"); {
			case kind == sweep.Purge && harm < 3:
				do(t, client, "SET", target(name), "a leftover")
			case kind == sweep.Purge || client.Exists(t.Context(), name).Val() == 0:
			case harm == 0 && (w == c.still || strings.Contains(name, ":string:")):
				do(t, client, "SET", name, "planted")
			case harm == 1:
				do(t, client, "DEL", name)
			case harm == 2:
				do(t, client, "PEXPIREAT", name, 4102444800000)
			}
		}
	}
}
