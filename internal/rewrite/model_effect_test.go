package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// This file says what each command does to a key of each content in each phase, and
// judges it: an application's reply must be the one that a bare key would give.

// touch is the set of names that a transition changed.
type touch uint8

const (
	touchesLegacy touch = 1 << iota
	touchesTarget
)

// effect is what one transition does to the key.
type effect struct {
	to      content
	touched touch
	changed bool   // the bare key was changed
	text    string // for the history
	wrong   string // what no bare key does
}

// conditions are what a command meets beside the key.
type conditions struct {
	scripted bool // a WATCH of the application is open on the connection
	full     bool // the server's memory is full
	last     bool // SPOP takes the last member
}

func (c conditions) String() string {
	var out []string
	if c.scripted {
		out = append(out, "WATCH open")
	}
	if c.full {
		out = append(out, "memory full")
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// partner is the other key of a command of two keys.
type partner struct {
	phase phase.Phase // 0: no rule
	content
}

// world is what commands run against.
type world struct {
	set    *keyname.Set
	engine engine
	server Server
	script *interpreter
	full   bool // memory may be full
	plain  bool // commands alone: no open WATCH, no SCAN
	seen   bool // only what the application sees is wrong
}

// run sends a call from an instance in a phase and judges the reply.
func (w *world) run(c *call, p phase.Phase, from content, with partner, under conditions) effect {
	physical, bare := w.load(from, with, under), w.bare(from, with, under)
	reply, sent, err := w.engine.run(physical, c, modelPhases{p, with.phase}, under.scripted)
	e := effect{text: fmt.Sprintf("%s%s answers %s, sent as %s", c, under, show(reply), strings.Join(sent, "; "))}
	if with != (partner{}) {
		e.text += fmt.Sprintf(" (the other key: %s, %s)", with.phase, with.content)
	}
	got, _ := w.contents(physical, bare[0], from)
	e.to, e.touched = got, touched(physical)
	if err != nil && (!w.seen || !errors.Is(err, errDiverged)) {
		e.wrong = err.Error()
		return e
	}
	if refused(c, reply, under) {
		return e
	}
	words := c.bare(w.set)
	matched := false
	for _, b := range bare {
		for chosen := range max(physical.chosen, 1) {
			try := b.clone()
			try.chosen = chosen
			if r := try.run(words); show(r) != show(reply) {
				continue
			}
			_, failed := reply.(failure)
			to, changed := w.outcome(physical, try, bare[0], from, !failed && c.writesKey(), under)
			// An answer may not tell which of several bare servers gave it; what the
			// names hold then does.
			if held := to.legacy == to.bare || to.target == to.bare; !matched || held {
				e.to, e.changed = to, changed
				if matched = true; held {
					return e
				}
			}
		}
	}
	if !matched {
		e.wrong = fmt.Sprintf("answers %s, a bare key %s", show(reply), show(bare[0].clone().run(words)))
	}
	return e
}

// outcome is the key's content behind a command that a bare server answered alike.
func (w *world) outcome(physical, bare, before *store, from content, wrote bool, under conditions) (to content, changed bool) {
	to, changed = w.contents(physical, bare, content{})
	if !from.missable {
		return to, changed
	}
	// What finds the key and leaves it alone says nothing about a copy that was dropped,
	// nor does a read or a failure; a write restores it unless memory is full.
	_, there := bare.keys[legacyName]
	switch {
	case !bare.touched[legacyName] && (there || !wrote):
		to, _ = w.contents(physical, before, from)
	case there && under.full:
		to, _ = w.contents(physical, bare, from)
	}
	return to, changed
}

// refused says that a command ran nothing for a reason that a bare server does not know
// and that the design allows: it takes memory, or copies, where there is none; it is a
// script that would need to run inside another.
func refused(c *call, reply any, under conditions) bool {
	script := string(c.words[0]) == "EVAL"
	switch reply {
	case outOfMemory:
		return under.full && c.writes()
	case failure(ErrNestedScript.Error()):
		return under.scripted && script
	}
	return false
}

// load makes the server on which the engine runs.
func (w *world) load(from content, with partner, under conditions) *store {
	s := newStore()
	s.frozen, s.script, s.full, s.last = w.server.Frozen, w.script, under.full, under.last
	from.load(s, legacyName, targetName)
	if with.phase == 0 {
		with.bare.load(s, otherLegacyName)
	} else {
		with.load(s, otherLegacyName, otherTargetName)
	}
	renameOther(s)
	return s
}

// bare makes the bare servers that the engine's could be mistaken for: one, or several
// where a key may be missing.
func (w *world) bare(from content, with partner, under conditions) []*store {
	var out []*store
	for _, key := range alternatives(from) {
		for _, other := range alternatives(with.content) {
			s := newStore()
			s.frozen, s.script, s.last = w.server.Frozen, w.script, under.last
			key.load(s, legacyName)
			other.load(s, otherLegacyName)
			renameOther(s)
			out = append(out, s)
		}
	}
	return out
}

func alternatives(c content) []symbol {
	if c.missable {
		return []symbol{c.bare, {}}
	}
	return []symbol{c.bare}
}

// renameOther makes the other key's values its own.
func renameOther(s *store) {
	for _, name := range []string{otherLegacyName, otherTargetName} {
		if v, ok := s.keys[name]; ok {
			s.keys[name] = value{"x's " + v.data, v.ttl}
		}
	}
}

// contents reads the key's content off the two servers.
func (w *world) contents(physical, bare *store, from content) (c content, changed bool) {
	return contentOf(physical.keys[legacyName], physical.keys[targetName], bare.keys[legacyName], from.missable), bare.touched[legacyName]
}

func touched(s *store) (t touch) {
	if s.touched[legacyName] {
		t |= touchesLegacy
	}
	if s.touched[targetName] {
		t |= touchesTarget
	}
	return t
}

// scan judges what SCAN would show of the key.
func (w *world) scan(p phase.Phase, from content) (e effect) {
	s := newStore()
	from.load(s, legacyName, targetName)
	shown := 0
	for _, name := range s.sortedNames() {
		if logical, ok := AppendLogical(nil, w.set, modelPhases{p, phase.Legacy}, []byte(name)); ok {
			if string(logical) != legacyName {
				return effect{wrong: fmt.Sprintf("SCAN shows %s for %s", logical, name)}
			}
			shown++
		}
	}
	e = effect{to: from, text: fmt.Sprintf("SCAN shows the key %d times", shown)}
	if there := from.bare.data != absent; there != (shown > 0) && !from.missable {
		e.wrong = fmt.Sprintf("SCAN shows the key %d times, a bare server %t", shown, there)
	}
	return e
}

// singleCalls are the commands of one key, at least one of each class.
var singleCalls = newCalls(
	"GET k", "SMEMBERS k", // read
	"GET P",                            // the application may use either name
	"SET k w",                          // overwrite
	"SET k w PX 9",                     // overwrite, relative TTL
	"INCR k", "SADD k m", "SET k w NX", // replay
	"SET k w XX", "GETDEL k", "PERSIST k",
	"PEXPIRE k 9",            // replay, relative TTL
	"SPOP k", "XADD k * f v", // effect
	"XAUTOCLAIM k g c 0 0", // recopy
	"EVAL script 1 k | return redis.call('SPOP',KEYS[1])",
	"EXISTS k", "TOUCH k", "DEL k", "UNLINK k", // count
	// One key in two places of a command, also by both of its names.
	"EXISTS k k", "DEL k k", "DEL k P", "MGET k P", "MSET k w P y", "RENAME k P",
)

// doubleCalls are the commands of two keys.
var doubleCalls = newCalls(
	"MGET k x", "MGET x k",
	"MSET k w x y",
	"RENAME k x", "RENAME x k", "RENAMENX x k",
	"COPY k x REPLACE", "COPY x k REPLACE", "COPY x k",
	"DEL k x", "EXISTS k x",
	"EVAL script 2 k x | local m=redis.call('SPOP',KEYS[1]) if m then redis.call('SADD',KEYS[2],m) end return m",
	"EVAL script 2 x k | local m=redis.call('SPOP',KEYS[1]) if m then redis.call('SADD',KEYS[2],m) end return m",
)

// effects are the different effects of all calls, each with the first call that has it.
func (w *world) effects(p phase.Phase, from content, calls []call, with []partner) (out []effect, runs int) {
	type seen struct {
		to      content
		touched touch
		changed bool
		wrong   bool
	}
	had := map[seen]bool{}
	add := func(e effect) {
		key := seen{e.to, e.touched, e.changed, e.wrong != ""}
		if !had[key] {
			had[key] = true
			out = append(out, e)
		}
	}
	for i := range calls {
		c := &calls[i]
		for _, under := range w.conditionsOf(c) {
			for _, other := range with {
				runs++
				add(w.run(c, p, from, other, under))
			}
		}
	}
	if !w.plain {
		runs++
		add(w.scan(p, from))
	}
	return out, runs
}

// conditionsOf are the conditions that make a difference to a call.
func (w *world) conditionsOf(c *call) (out []conditions) {
	for _, scripted := range []bool{false, true} {
		for _, full := range []bool{false, true} {
			if full && !w.full || scripted && w.plain {
				continue
			}
			out = append(out, conditions{scripted, full, false})
			if c.use.Class == command.ClassEffect || string(c.words[0]) == "EVAL" {
				out = append(out, conditions{scripted, full, true})
			}
		}
	}
	return out
}
