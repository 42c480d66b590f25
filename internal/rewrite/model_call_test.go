package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// This file sends commands as a session does: the words through the command table and
// the Builder, the lines to the model's server, the replies folded to one.

// The names of the model. The key of rule 0 is the one whose states are explored; the
// other key stands beside it in commands of two keys.
const (
	legacyName, targetName           = "k:1", "cw:k:1"
	otherLegacyName, otherTargetName = "x:1", "cw:x:1"
)

// modelSet has one rule for the key, and one for the other key.
func modelSet() *keyname.Set {
	var pairs []*keyname.Pair
	for _, name := range []string{"k", "x"} {
		var both [2]*keyname.Template
		for i, text := range []string{name + ":{id}", "cw:" + name + ":{id}"} {
			template, err := keyname.Parse(text, "prod")
			if err != nil {
				panic(err)
			}
			both[i] = template
		}
		pair, err := keyname.NewPair(name, both[0], both[1], false)
		if err != nil {
			panic(err)
		}
		pairs = append(pairs, pair)
	}
	set, err := keyname.NewSet(pairs, []byte("rekey:"))
	if err != nil {
		panic(err)
	}
	return set
}

// modelPhases is the phase of the key's rule and of the other key's; 0: no rule.
type modelPhases [2]phase.Phase

// Phase makes the two phases [Phases].
func (p modelPhases) Phase(rule int) phase.Phase { return p[rule] }

// call is one command of an application.
type call struct {
	words   [][]byte
	command *command.Command
	use     command.Use
	at      []command.Key
}

func newCall(text string) call {
	var c call
	line, script, _ := strings.Cut(text, " | ")
	for _, w := range strings.Fields(line) {
		switch w {
		case "k":
			w = legacyName
		case "P":
			w = targetName
		case "x":
			w = otherLegacyName
		case "script":
			w = script
		}
		c.words = append(c.words, []byte(w))
	}
	var ok bool
	if c.command, ok = command.Lookup(c.words); !ok {
		panic("no command: " + text)
	}
	c.use = c.command.Use(c.words)
	var err error
	if c.at, err = c.command.Keys(nil, c.words); err != nil {
		panic(err)
	}
	return c
}

func newCalls(texts ...string) []call {
	var out []call
	for _, text := range texts {
		out = append(out, newCall(text))
	}
	return out
}

func (c *call) String() string {
	words := make([]string, len(c.words))
	for i, w := range c.words {
		if words[i] = string(w); strings.ContainsAny(words[i], " \n") {
			words[i] = "script"
		}
	}
	return strings.Join(words, " ")
}

// writes says that the call may change a key.
func (c *call) writes() bool {
	return slices.ContainsFunc(c.at, func(k command.Key) bool { return k.Access&command.AccessWrite != 0 })
}

// writesKey says that the call may change the key that is explored.
func (c *call) writesKey() bool {
	return slices.ContainsFunc(c.at, func(k command.Key) bool {
		name := string(c.words[k.Arg])
		return k.Access&command.AccessWrite != 0 && (name == legacyName || name == targetName)
	})
}

// rewriting is the call as a session hands it to the Builder.
func (c *call) rewriting(set *keyname.Set, phases modelPhases, server Server) Command {
	out := Command{Args: c.words, Use: c.use, Resp: 2, Server: server}
	for _, at := range c.at {
		name := c.words[at.Arg]
		key := Key{Arg: at.Arg, Rule: NoRule, Write: at.Access&command.AccessWrite != 0}
		if rule, target := set.Find(name); rule != NoRule && phases[rule] != 0 {
			key.Rule, key.Phase, key.Legacy, key.Target = rule, phases[rule], name, name
			if target {
				key.Legacy, _ = set.Pair(rule).AppendLegacy(nil, name)
			} else {
				key.Target, _ = set.Pair(rule).AppendTarget(nil, name)
			}
		}
		out.Keys = append(out.Keys, key)
	}
	return out
}

// bare is the call on a server where every key has its legacy name alone.
func (c *call) bare(set *keyname.Set) [][]byte {
	words := append([][]byte(nil), c.words...)
	for _, at := range c.at {
		if rule, target := set.Find(words[at.Arg]); target {
			words[at.Arg], _ = set.Pair(rule).AppendLegacy(nil, words[at.Arg])
		}
	}
	return words
}

// engine runs calls on a server as an instance in given phases does.
type engine interface {
	// run gives the reply that the application gets and the lines that were sent.
	// scripted: a WATCH is open, so that no transaction may be sent.
	run(s *store, c *call, phases modelPhases, scripted bool) (reply any, sent []string, err error)
}

// builderEngine is the real one.
type builderEngine struct {
	set     *keyname.Set
	server  Server
	builder Builder
	// skip leaves lines out, for tests in which the search must notice it.
	skip func(*call, Line) bool
}

// errDiverged says that the two copies did not answer alike. The application does not
// see that, but it must never happen.
var errDiverged = errors.New("the two names answer differently")

func (e *builderEngine) run(s *store, c *call, phases modelPhases, scripted bool) (any, []string, error) {
	b := &e.builder
	rc := c.rewriting(e.set, phases, e.server)
	rc.Scripted = scripted
	b.Command(&rc)
	if scripted {
		switch err := b.Scripted(&rc); {
		case errors.Is(err, ErrNestedScript):
			return failure(err.Error()), []string{"(refused)"}, nil
		case err != nil:
			return nil, nil, err
		}
	}
	if s.full && b.Transaction {
		// Nothing inside MULTI is queued, so nothing ran: see intercept's retry.go.
		switch {
		case !c.writes():
			if _, err := b.Snapshot(&rc); err != nil {
				return nil, nil, err
			}
		case c.command.Flags&command.DenyOOM != 0:
			return outOfMemory, []string{"(refused)"}, nil
		default:
			switch err := b.Full(&rc); {
			case errors.Is(err, ErrNeedsMemory):
				return outOfMemory, []string{"(refused)"}, nil
			case err != nil:
				return nil, nil, err
			}
		}
	}
	if e.skip != nil {
		b.Lines = slices.DeleteFunc(b.Lines, func(l Line) bool { return e.skip(c, l) })
	}
	return b.fold(s)
}

// fold runs the lines and makes one reply of theirs.
func (b *Builder) fold(s *store) (reply any, sent []string, err error) {
	var sum int
	var looked, counted, failed bool
	for i, l := range b.Lines {
		words := b.Args(i)
		sent = append(sent, lineText(words))
		if bytes.Equal(words[0], wordWatch) {
			continue // the snapshot of a read: one moment, or it is read again
		}
		r := s.do(words)
		switch l.Role {
		case Answer:
			reply = r
		case Alternative:
			if !looked {
				reply = r
			}
		case Mirrored:
			if show(r) != show(reply) {
				err = fmt.Errorf("%w: %s and %s", errDiverged, show(reply), show(r))
			}
		case Looked:
			looked = r == 1
		case Counted:
			n, ok := r.(int)
			counted = true
			if !ok && !failed {
				reply, failed = r, true
			}
			sum += min(n, 1)
		case Copied, Homed:
			if _, refused := r.(failure); refused {
				return nil, sent, fmt.Errorf("%s was refused: %s", lineText(words), show(r))
			}
		}
	}
	if counted && !failed {
		reply = sum
	}
	return reply, sent, err
}

func lineText(words [][]byte) string {
	if string(words[0]) == "EVAL" {
		return fmt.Sprintf("EVAL script %s", bytes.Join(words[2:], []byte(" ")))
	}
	return string(bytes.Join(words, []byte(" ")))
}
