package difftest

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// What the differential test is fed here is wrong, and it must find that out.

// unsafeRuns is how many sequences a wrong rewriting may pass before the test is called blind.
const unsafeRuns = 20

// TestFindsTheFlagFlip: instances that read and write the legacy name beside others that are at
// the target name, and every other two phases that may not stand side by side.
func TestFindsTheFlagFlip(t *testing.T) {
	w := newWorld(t)
	base := baseSeed(t)
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		of := phase.Of(s)
		for i, a := range of {
			for _, b := range of[i+1:] {
				if phase.Beside(s, a, b) {
					continue
				}
				p := pair{s, [2]phase.Phase{a, b}}
				w.mustFind(t, base, p.String(), func(uint64) setting { return setting{a: p, b: p} })
			}
		}
	}
}

// TestFindsTheMissingCommand: the engine without one of the commands that it adds, in a phase
// that needs it.
func TestFindsTheMissingCommand(t *testing.T) {
	w := newWorld(t)
	base := baseSeed(t)
	for _, without := range []struct {
		command string
		p       pair
	}{
		{"UNLINK", pair{phase.Mirror, [2]phase.Phase{phase.Guard, phase.Dual}}},
		{"COPY", pair{phase.Mirror, [2]phase.Phase{phase.Dual, phase.Dual}}},
		{"COPY", pair{phase.Mirror, [2]phase.Phase{phase.Settled, phase.Settled}}},
		{"COPY", pair{phase.Mirror, [2]phase.Phase{phase.Drain, phase.Drain}}},
		{"UNLINK", pair{phase.Mirror, [2]phase.Phase{phase.Dual, phase.Sealed}}},
		{"RENAMENX", pair{phase.Relocate, [2]phase.Phase{phase.Hold, phase.Move}}},
	} {
		dial := func(i int) peer {
			rules := w.rules(without.p.phases[i], without.p.phases[i])
			return broken(newEngine(&sabotage{Conn: dialBare(t, w.engine), command: without.command}, rules))
		}
		w.mustFind(t, base, without.p.String()+" without "+without.command, func(uint64) setting {
			return setting{a: without.p, b: without.p, dial: dial}
		})
	}
}

// TestFindsTheNaiveDualWrite: a cache layer as it is often written, which reads the target name
// and then the legacy one, and sends each write to both.
func TestFindsTheNaiveDualWrite(t *testing.T) {
	w := newWorld(t)
	p := pair{phase.Mirror, [2]phase.Phase{phase.Dual, phase.Dual}}
	w.mustFind(t, baseSeed(t), "naive dual write", func(uint64) setting {
		return setting{a: p, b: p, dial: func(int) peer { return &naive{wire: broken(dialBare(t, w.engine))} }}
	})
}

// mustFind runs sequences until one shows a difference.
func (w *world) mustFind(t *testing.T, base uint64, what string, of func(seed uint64) setting) {
	t.Helper()
	for i := range unsafeRuns {
		rng := rand.New(rand.NewPCG(base, uint64(i)|1<<61))
		s := of(rng.Uint64())
		s.wrong, s.protos, s.load = true, [2]int{2, 2}, rng.Uint64()
		f, err := w.runSequence(s, newGenerator(w, base, false).sequence(rng, i), newCounts())
		if err != nil {
			t.Fatal(err)
		}
		if f != nil {
			t.Logf("%s: found by sequence %d", what, i)
			return
		}
	}
	t.Errorf("%s: %d sequences found nothing", what, unsafeRuns)
}

// broken is a peer that may never answer.
func broken(conn net.Conn) *wire {
	w := newWire(conn)
	w.within = brokenWithin
	return w
}

// sabotage puts TOUCH, which does nothing, in the place of a command on its way to the server.
// The engine's own words are upper case, those of the test are lower case.
type sabotage struct {
	net.Conn
	command string
}

func (s *sabotage) Write(b []byte) (int, error) {
	word := []byte("\r\n" + s.command + "\r\n")
	for at := bytes.Index(b, word); at >= 0; at = bytes.Index(b, word) {
		length := bytes.LastIndexByte(b[:at], '$')
		b = append(append(bytes.Clone(b[:length]), "$5\r\nTOUCH\r\n"...), b[at+len(word):]...)
	}
	_, err := s.Conn.Write(b)
	return len(b), err
}

// naive is the dual write of an application that uses no transactions.
type naive struct {
	*wire
	pending [][]byte
}

func (n *naive) send(words []string) error {
	reply, err := n.do(words)
	if err != nil {
		return err
	}
	n.pending = append(n.pending, reply)
	return nil
}

func (n *naive) receive() ([]byte, error) {
	reply := n.pending[0]
	n.pending = n.pending[1:]
	return reply, nil
}

func (n *naive) do(words []string) ([]byte, error) {
	c, ok := command.Lookup(asArgs(words...))
	keys, err := []command.Key(nil), error(nil)
	if ok {
		keys, err = c.Keys(nil, asArgs(words...))
	}
	target, legacy := append([]string(nil), words...), append([]string(nil), words...)
	for _, k := range keys {
		if name := words[k.Arg]; ruled(name) {
			target[k.Arg] = targetOf(name)
		} else if logical, isTarget := bytes.CutPrefix([]byte(name), []byte("cw:test:")); isTarget {
			legacy[k.Arg] = string(logical)
		}
	}
	if len(keys) == 0 || err != nil {
		return n.one(words)
	}
	reply, err := n.one(target)
	if err != nil {
		return nil, err
	}
	if writes := c.Use(asArgs(words...)).Class != command.ClassRead; writes {
		_, err = n.one(legacy)
		return reply, err
	}
	if empty := reply[0] == '_' || len(reply) > 1 && (reply[1] == '-' || reply[1] == '0'); empty {
		return n.one(legacy)
	}
	return reply, nil
}

func (n *naive) one(words []string) ([]byte, error) {
	if err := n.wire.send(words); err != nil {
		return nil, err
	}
	return n.wire.receive()
}
