package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

const rightsPlan = `
version: 1
environment: test
rules:
  - {name: things, legacy: "thing:{id}", target: "cw:{env}:thing:{id}", strategy: %s}
`

// The commands of the application itself, which it may send before rekey comes.
var ownCommands = strings.Fields("+get +mget +set +append +expire +hset +sadd +spop +lpush +blpop +xadd +xread +xreadgroup +xgroup|create +del +ping")

// What an application that uses WATCH may send beside them. It is another application, so that the
// MULTI that rekey sends is told apart from the application's.
var optimisticCommands = strings.Fields("+watch +unwatch +multi +exec")

// TestRightsAreEnough gives a user its own commands and the line of each phase. Nothing that it does
// is refused.
func TestRightsAreEnough(t *testing.T) {
	w := newRightsWorld(t)
	for _, c := range rightsCases() {
		t.Run(c.String(), func(t *testing.T) {
			for _, got := range []refusals{w.run(t, c, c.grant(), work), w.run(t, c, c.grant(), optimistic)} {
				for _, d := range slices.Concat(got.before, got.stepping) {
					t.Errorf("refused: %s %s", d.reason, d.object)
				}
				if got.reply != "" {
					t.Errorf("the application got %q", got.reply)
				}
				if got.step != nil {
					t.Errorf("the step: %v", got.step)
				}
			}
		})
	}
}

// TestEachRightIsNeeded takes one right away after the other. The server refuses something each time.
func TestEachRightIsNeeded(t *testing.T) {
	w := newRightsWorld(t)
	for _, c := range rightsCases() {
		for _, r := range rightsIn(c.phase) {
			later := w.server.IsValkey() || w.server.AtLeast(7, 2)
			if later && (r.before72 || r.word == "watch" && c.strategy == phase.Relocate) {
				continue // full memory refuses reads inside MULTI before 7.2 only
			}
			t.Run(c.String()+"/"+strings.ReplaceAll(r.word, "|", "-"), func(t *testing.T) {
				g := c.grant()
				g.words = slices.DeleteFunc(g.words, func(word string) bool { return word == "+"+r.word })
				use := work
				if r.word == "eval" {
					use = optimistic
				}
				got := w.run(t, c, g, use)
				denials := got.before
				if strings.HasPrefix(r.word, "client|") {
					denials = append(denials, got.stepping...)
				}
				if !slices.ContainsFunc(denials, func(d denial) bool { return d.of(r.word) }) {
					t.Errorf("without +%s nothing was refused; refused were %v", r.word, denials)
				}
				if r.word == "client|kill" && (got.step == nil || !strings.Contains(got.step.Error(), "NOPERM")) {
					t.Errorf("the step: %v, want NOPERM", got.step)
				}
				if needed := []string{"multi", "unlink", "copy", "renamenx", "srem", "xlen", "xtrim"}; slices.Contains(needed, r.word) && got.reply == "" &&
					!(r.word == "renamenx" && c.phase == phase.Drain) { // only at full memory, where the refusal is OOM anyway
					t.Errorf("without +%s the application was told nothing", r.word)
				}
			})
		}
		for _, p := range c.grant().patterns {
			t.Run(c.String()+"/without a pattern", func(t *testing.T) {
				g := c.grant()
				g.patterns = slices.DeleteFunc(g.patterns, func(pattern string) bool { return pattern == p })
				got := w.run(t, c, g, work)
				if !slices.ContainsFunc(got.before, func(d denial) bool { return d.reason == "key" }) || got.reply == "" {
					t.Errorf("without %s nothing was refused", p)
				}
			})
		}
	}
}

// rightsCase is one phase of one strategy.
type rightsCase struct {
	plan     *plan.Plan
	strategy phase.Strategy
	phase    phase.Phase
}

func (c rightsCase) String() string { return c.strategy.String() + "/" + c.phase.String() }

func (c rightsCase) grant() aclGrant {
	return grantFor(c.plan, map[phase.Strategy][]phase.Phase{c.strategy: {c.phase}})
}

// neighbour is the phase of the next step.
func (c rightsCase) neighbour() phase.Phase {
	if next, ok := phase.Next(c.strategy, c.phase, phase.Prefixed); ok {
		return next
	}
	next, _ := phase.Next(c.strategy, c.phase, phase.Legacy)
	return next
}

func rightsCases() []rightsCase {
	var out []rightsCase
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		p, err := plan.Parse("test.yaml", fmt.Appendf(nil, rightsPlan, s), func(string) (string, bool) { return "", false })
		if err != nil {
			panic(err)
		}
		for _, ph := range phase.Of(s) {
			out = append(out, rightsCase{p, s, ph})
		}
	}
	return out
}

func (g aclGrant) lacks(word string) bool { return !slices.Contains(g.words, "+"+word) }

func (g aclGrant) complete(c rightsCase) bool { return slices.Equal(g.args(""), c.grant().args("")) }

// rightsWorld is a server with a user whose rights change.
type rightsWorld struct {
	server *redistest.Server
	admin  *redis.Client
}

func newRightsWorld(t *testing.T) *rightsWorld {
	server := redistest.Start(t)
	if !server.IsValkey() && !server.AtLeast(7, 0) {
		t.Fatal("ACL LOG names subcommands from 7.0 on")
	}
	w := &rightsWorld{server, server.Client(func(o *redis.Options) { o.Password = "admin" })}
	// A connection that has not logged in yet may ask nothing, so that all is asked as the user.
	w.must(t, "ACL", "SETUSER", "default", "resetpass", ">admin")
	return w
}

// refusals is what a run brought about.
type refusals struct {
	before   []denial // by the server's own record, before the step
	stepping []denial
	reply    string // the first reply to the application that speaks of rights
	step     error
}

// denial is one entry of ACL LOG.
type denial struct{ reason, object string }

func (d denial) of(word string) bool {
	return d.reason == "command" && (d.object == word || strings.HasPrefix(d.object, word+"|"))
}

// run lets an application with the given rights work in a phase, then makes a step away from it.
func (w *rightsWorld) run(t *testing.T, c rightsCase, g aclGrant, use workload) refusals {
	t.Helper()
	ctx := t.Context()
	w.must(t, "FLUSHALL")
	w.must(t, "ACL", "DELUSER", "app")
	w.must(t, append([]string{"ACL", "SETUSER", "app", "on", ">app", "-@all"}, use.commands...)...)
	w.must(t, g.args("app")...)
	w.must(t, "ACL", "LOG", "RESET")
	prefix := "thing:"
	if c.phase == phase.Prefixed {
		prefix = "cw:test:thing:"
	}
	for _, words := range [][]string{
		{"SET", "old", "1"}, {"HSET", "hash", "f", "v"}, {"SADD", "set", "a", "b", "c"}, {"XADD", "stream", "1-1", "f", "v"}, {"SET", "late", "1"}, {"SET", "gone", "1"},
	} {
		words[1] = prefix + words[1]
		w.must(t, words...)
	}
	source := rekey.NewManual(map[string]phase.Phase{"things": c.phase})
	r, err := rekey.Open(ctx, c.plan, rekey.WithSource(source))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	rdb := redis.NewClient(&redis.Options{
		Addr: w.server.Addr(), Dialer: r.Dialer(nil), Username: "app", Password: "app", Protocol: 2,
		DisableIdentity: true, MaxRetries: -1, ReadTimeout: time.Second, PoolSize: 4, ContextTimeoutEnabled: true,
	})
	defer func() { _ = rdb.Close() }()

	var got refusals
	note := func(err error) {
		if err == nil || got.reply != "" {
			return
		}
		for _, word := range []string{"NOPERM", "ACL failure", "user executing the script"} {
			if strings.Contains(err.Error(), word) {
				got.reply = err.Error()
			}
		}
	}
	use.work(ctx, rdb, note)
	if !c.phase.Parked() { // there the server itself finds where it begins, if rekey may not
		note(rdb.Do(ctx, "XREAD", "BLOCK", "1", "STREAMS", "thing:stream", "$").Err())
		// Long enough to be tried again: in phases that poll, rekey looks first.
		note(rdb.Do(ctx, "BLPOP", "thing:none", "0.05").Err())
		note(rdb.Do(ctx, "XGROUP", "CREATE", "thing:quiet", "g", "$", "MKSTREAM").Err())
		note(rdb.Do(ctx, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "50", "STREAMS", "thing:quiet", ">").Err())
	}
	w.must(t, "CONFIG", "SET", "maxmemory", "1")
	workFull(ctx, rdb, note)
	w.must(t, "CONFIG", "SET", "maxmemory", "0")
	got.before = w.denials(t)
	if !g.complete(c) && !g.lacks("client|kill") && !g.lacks("client|unblock") && !g.lacks("client|id") {
		return got // the step is not what it is about
	}

	// The step belongs to both phases.
	n := grantFor(c.plan, map[phase.Strategy][]phase.Phase{c.strategy: {c.neighbour()}})
	n.words = slices.DeleteFunc(n.words, func(word string) bool { return strings.HasPrefix(word, "+client|") })
	w.must(t, n.args("app")...)
	got.step = w.step(t, r, rdb, source, c, g)
	got.stepping = w.denials(t)
	return got
}

// workload is what an application does, and what it may send for it.
type workload struct {
	commands []string
	work     func(ctx context.Context, rdb *redis.Client, note func(error))
}

var (
	work       = workload{ownCommands, allClasses}
	optimistic = workload{slices.Concat(ownCommands, optimisticCommands), transactions}
)

// allClasses are reads and writes of all classes, and blocking commands.
func allClasses(ctx context.Context, rdb *redis.Client, note func(error)) {
	do := func(words ...any) { note(rdb.Do(ctx, words...).Err()) }
	do("GET", "thing:old")
	do("MGET", "thing:old", "thing:new")
	do("SET", "thing:new", "1", "EX", "100")
	do("APPEND", "thing:old", "x")
	do("HSET", "thing:hash", "g", "w")
	do("EXPIRE", "thing:hash", "100")
	do("XADD", "thing:stream", "*", "f", "v")
	do("SPOP", "thing:set")
	do("LPUSH", "thing:list", "x")
	do("BLPOP", "thing:list", "1")
	do("XGROUP", "CREATE", "thing:stream", "g", "0")
	do("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "thing:stream", ">")
	do("DEL", "thing:new")
	do("NOSUCHCOMMAND", "thing:old")
	do("NOSUCHCOMMAND", "cw:test:thing:old")
}

// transactions are optimistic, with reads and writes between WATCH and MULTI.
func transactions(ctx context.Context, rdb *redis.Client, note func(error)) {
	note(rdb.Watch(ctx, func(tx *redis.Tx) error {
		note(tx.Get(ctx, "thing:old").Err())
		note(tx.Set(ctx, "thing:other", "1", 0).Err())
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "thing:old", "2", 0).Err() })
		return err
	}, "thing:old"))
}

// workFull is what applications do while the server has no memory.
func workFull(ctx context.Context, rdb *redis.Client, note func(error)) {
	do := func(words ...any) { note(rdb.Do(ctx, words...).Err()) }
	do("GET", "thing:late")
	do("EXPIRE", "thing:hash", "200")
	do("EXPIRE", "thing:old", "200", "XX")
	do("EXPIRE", "thing:gone", "-1")
}

// step leaves a blocking command waiting and a connection closed with a reply outstanding, then goes
// to the neighbouring phase.
func (w *rightsWorld) step(t *testing.T, r *rekey.Rekey, rdb *redis.Client, source *rekey.Manual, c rightsCase, g aclGrant) error {
	t.Helper()
	ctx := t.Context()
	waiting := rdb.WithTimeout(time.Minute)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = waiting.Do(ctx, "XREAD", "BLOCK", "0", "STREAMS", "thing:none", "0").Err() // ended with the client
	}()
	conn, err := r.Dialer(nil)(ctx, "tcp", w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("AUTH app app\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, len("+OK\r\n+PONG\r\n"))
	for n := 0; n < len(reply); {
		m, err := conn.Read(reply[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if _, err := conn.Write([]byte("GET thing:old\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	// Parked phases and those in which the server waits have one blocked client now.
	if slices.Contains(serverWaits, c.phase) {
		redistest.WaitFor(t, 5*time.Second, func() bool {
			return strings.Contains(w.admin.ClientList(ctx).Val(), "cmd=xread ")
		})
	}
	source.Set(map[string]phase.Phase{"things": c.neighbour()})
	redistest.WaitFor(t, 5*time.Second, func() bool { return r.Phases()["things"] == c.neighbour() })
	if g.complete(c) {
		err = reach(ctx, r, 5*time.Second)
	} else {
		// It may never end, and what is to be seen then is seen at once: an error that says why, or
		// the server's record of what it refused.
		redistest.WaitFor(t, 5*time.Second, func() bool {
			err = reach(ctx, r, 100*time.Millisecond)
			return err == nil || strings.Contains(err.Error(), "NOPERM") || w.refused(t, g)
		})
	}
	_ = rdb.Close() // ends what blocks
	<-ended
	return err
}

// reach waits until nothing of an earlier phase is under way.
func reach(ctx context.Context, r *rekey.Rekey, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return r.WaitReached(ctx)
}

func (w *rightsWorld) must(t *testing.T, words ...string) {
	t.Helper()
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	if err := w.admin.Do(t.Context(), args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
}

// refused says whether the server has on record that it refused a right that is lacking and that only
// a step needs.
func (w *rightsWorld) refused(t *testing.T, g aclGrant) bool {
	t.Helper()
	return slices.ContainsFunc(w.recorded(t), func(d denial) bool {
		return g.lacks("client|id") && d.of("client|id") || g.lacks("client|unblock") && d.of("client|unblock")
	})
}

// denials reads and empties the server's record of what it refused.
func (w *rightsWorld) denials(t *testing.T) []denial {
	t.Helper()
	out := w.recorded(t)
	w.must(t, "ACL", "LOG", "RESET")
	return out
}

func (w *rightsWorld) recorded(t *testing.T) []denial {
	t.Helper()
	log, err := w.admin.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	var out []denial
	for _, e := range log {
		if e.Username == "app" {
			out = append(out, denial{e.Reason, e.Object})
		}
	}
	return out
}
