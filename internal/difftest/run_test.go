package difftest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
)

// setting is what a sequence runs in.
type setting struct {
	a, b      pair   // the phases of the two rules, one for each connection
	protos    [2]int // of the two connections
	load      uint64 // seed of where the data lie
	vectors   bool
	twoCopies bool // the data lie under both names wherever they may
	full      bool // no memory is left on either server
	wrong     bool // the side that is compared is wrong on purpose
	// dial opens connection i of the side that is compared with the bare server; nil: the engine.
	dial func(i int) peer
	// connect opens a connection of the engine with rules; nil: the engine alone, in front of the server.
	connect func(rules *intercept.Rules) net.Conn
}

// within bounds the wait for what must come. From a side that is wrong on purpose it may never come.
func (s setting) within() time.Duration {
	if s.wrong {
		return brokenWithin
	}
	return replyWithin
}

func (s setting) String() string {
	return fmt.Sprintf("rule a %v, rule b %v, RESP%d and RESP%d", s.a, s.b, s.protos[0], s.protos[1])
}

// failure is a difference that nothing allows.
type failure struct {
	at   int // of the step; the number of steps for the data at the end
	text string
}

// run is one sequence on both sides.
type run struct {
	w       *world
	setting setting
	bare    [2]peer
	other   [2]peer
	rules   [2]*intercept.Rules
	multi   [2]*[][]word // the commands of an open MULTI
	watch   [2]bool
	others  [2]int  // commands since the first WATCH that are not in its transaction and may touch what it watches
	doomed  [2]bool // the engine refused a command of the open MULTI
	skew    time.Duration
	counts  *counts
	began   time.Time // of the present step
}

// counts are what ran.
type counts struct {
	sequences, steps int
	succeeded        map[string]int
	failed           map[string]int
	abortedAgain     int // transactions that were sent again
	refusedWhenFull  map[string]int
}

func newCounts() *counts {
	return &counts{succeeded: make(map[string]int), failed: make(map[string]int), refusedWhenFull: make(map[string]int)}
}

func (c *counts) add(words []word, reply resp.Value) {
	name := nameOf(plain(words))
	if reply.IsError() {
		c.failed[name]++
	} else {
		c.succeeded[name]++
	}
}

// plain are the words with logical names.
func plain(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return out
}

// runSequence runs a sequence from the beginning. The error is one of the test itself.
func (w *world) runSequence(s setting, steps []step, c *counts) (*failure, error) {
	r, err := w.begin(s, c)
	if err != nil {
		return nil, err
	}
	defer r.end()
	c.sequences++
	for i, st := range steps {
		if r.left(st) {
			continue
		}
		c.steps++
		problem, err := r.step(st)
		if err != nil {
			problem = fmt.Sprintf("the connection failed: %v", err)
		}
		if problem != "" {
			return &failure{i, problem}, nil
		}
	}
	problem, err := r.finish()
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return &failure{len(steps), problem}, nil
	}
	return nil, nil
}

func (w *world) begin(s setting, c *counts) (*run, error) {
	if s.full {
		defer w.setMemory(fullMemory)
	}
	w.setMemory(anyMemory)
	load := w.load
	if s.twoCopies {
		load = w.loadTwice
	}
	if err := load(rand.New(rand.NewPCG(s.load, 1)), s.a, s.b); err != nil {
		return nil, err
	}
	if s.vectors {
		if err := w.loadVectors(s.a, s.b); err != nil {
			return nil, err
		}
	}
	r := &run{w: w, setting: s, counts: c}
	for i := range 2 {
		r.bare[i] = newWire(dialBare(w.t, w.bare))
		if s.dial != nil {
			r.other[i] = s.dial(i)
		} else {
			r.rules[i] = w.rules(s.a.phases[i], s.b.phases[i])
			connect := s.connect
			if connect == nil {
				connect = func(rules *intercept.Rules) net.Conn { return newEngine(dialBare(w.t, w.engine), rules) }
			}
			engine := newWire(connect(r.rules[i]))
			engine.within = s.within()
			r.other[i] = engine
		}
		for _, p := range []peer{r.bare[i], r.other[i]} {
			if _, err := ask(p, "hello", strconv.Itoa(s.protos[i])); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *run) end() {
	for i := range 2 {
		r.bare[i].close()
		r.other[i].close()
	}
}

// left says that a step cannot be sent in the state of its connection (see uncovered_test.go).
func (r *run) left(s step) bool {
	inMulti := r.multi[s.conn] != nil
	switch name := nameOf(plain(s.words)); {
	case (inMulti || r.setting.full) && (s.served != nil || s.expires):
		return true
	case s.served != nil && (r.watch[s.conn] || r.multi[1-s.conn] != nil):
		return true
	case r.watch[s.conn] && !inMulti && noScript(plain(s.words)), r.setting.full && name == "debug":
		return true
	case inMulti && name == "spop":
		return len(s.words) < 3 || s.words[2].text != "1000"
	case inMulti && name == "randomkey":
		return true
	}
	return false
}

// noScript says that a command cannot go as a script, or as a part of one.
func noScript(words []string) bool {
	args := asArgs(words...)
	c, ok := command.Lookup(args)
	return ok && (c.Flags&command.NoScript != 0 || c.Use(args).Block > 0) && c.Use(args).Class != command.ClassSession
}

// mayTouch says that a command may touch a watched name although no value changes: a write that changed nothing and was copied,
// or a read of several keys, which brings one to its own name. A read of one key must not.
func mayTouch(words []string) bool {
	args := asArgs(words...)
	c, ok := command.Lookup(args)
	if !ok || c.Name == "exec" || c.Flags&command.Write != 0 {
		return true
	}
	keys, err := c.Keys(nil, args)
	return err != nil || len(keys) > 1 || len(keys) == 1 && c.Flags&command.ReadOnly == 0
}

// step sends one step to both sides and compares the replies.
func (r *run) step(s step) (problem string, err error) {
	r.began = time.Now()
	defer func() { r.skew = max(r.skew, r.sinceStep()) }()
	if s.served != nil || mayTouch(plain(s.words)) {
		r.others[1-s.conn]++
		if r.multi[s.conn] == nil {
			r.others[s.conn]++
		}
	}
	switch {
	case s.served != nil:
		return r.serve(s)
	case r.setting.full:
		return r.stepAtFullMemory(s)
	case r.picks(s):
		return r.pick(s)
	}
	if err := r.other[s.conn].send(r.engineWords(s.words)); err != nil {
		return "", err
	}
	if err := r.bare[s.conn].send(r.bareWords(s.words)); err != nil {
		return "", err
	}
	problem, want, err := r.receive(s)
	if err != nil || problem != "" || !s.expires || string(want) != ":1\r\n" {
		return problem, err
	}
	return "", r.untilGone(s)
}

// sinceStep is how far apart two moments of the present step can be.
func (r *run) sinceStep() time.Duration { return time.Since(r.began) + time.Millisecond }

// receive takes the two replies to a step.
func (r *run) receive(s step) (problem string, want []byte, err error) {
	got, err := r.other[s.conn].receive()
	if err != nil {
		return "", nil, err
	}
	if want, err = r.bare[s.conn].receive(); err != nil {
		return "", nil, fmt.Errorf("bare server: %w", err)
	}
	problem, err = r.judge(s, got, want)
	return problem, want, err
}

func (r *run) engineWords(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.w.text(w.physical())
	}
	return out
}

func (r *run) bareWords(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.w.text(w.text)
	}
	return out
}

// finish closes what is open and compares the data.
func (r *run) finish() (string, error) {
	for i := range 2 {
		for _, p := range []peer{r.bare[i], r.other[i]} {
			if r.multi[i] != nil {
				if _, err := ask(p, "discard"); err != nil {
					return "", err
				}
			}
			if _, err := ask(p, "unwatch"); err != nil {
				return "", err
			}
		}
	}
	problem, err := r.w.difference(r.setting.a, r.setting.b, r.skew, r.setting.twoCopies)
	if err != nil || problem != "" {
		return problem, err
	}
	var found []string
	for i, rules := range r.rules {
		if rules == nil {
			continue
		}
		for rule := range rules.Stats.Rules {
			s := &rules.Stats.Rules[rule]
			if d, f, u := s.Divergences.Load(), s.Refused.Load(), s.Uncopied.Load(); d+f > 0 || u > 0 && !r.setting.full {
				found = append(found, fmt.Sprintf("connection %d, rule %d: %d divergences, %d refused, %d uncopied", i, rule, d, f, u))
			}
		}
	}
	return strings.Join(found, "\n"), nil
}

// report fails the test with a sequence that was shrunk.
func (w *world) report(t *testing.T, s setting, steps []step, seed string, f *failure) {
	t.Helper()
	steps, f = w.shrink(s, steps, f)
	var b strings.Builder
	for i, st := range steps {
		fmt.Fprintf(&b, "%s\n", st)
		if i == f.at {
			break
		}
	}
	t.Fatalf("seed %s: %v\n%s\n%s", seed, s, b.String(), f.text)
}
