package rewrite

import (
	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// naiveEngine is the rollout that the seed describes, with its flags as an instance has
// them: first both off, then CW_CACHE_PREFIX_ENABLED and CW_CACHE_DUAL_WRITE on, then
// dual write off. The phases that stand for them are legacy, dual and drain.
//
// It is kinder than the seed's own code: a read and its fallback, and the two writes, run
// in one moment here, and a removal counts what either name held.
type naiveEngine struct{ set *keyname.Set }

func (e *naiveEngine) run(s *store, c *call, phases modelPhases, _ bool) (any, []string, error) {
	on := func(target bool) (any, string) {
		words := append([][]byte(nil), c.words...)
		for _, at := range c.at {
			if target {
				words[at.Arg] = []byte(targetName)
			}
		}
		return s.do(words), lineText(words)
	}
	if phases[0] == phase.Legacy {
		reply, line := on(false)
		return reply, []string{line}, nil
	}
	_, held := s.keys[legacyName]
	reply, line := on(true)
	sent := []string{line}
	reads := c.use.Class == command.ClassRead
	if reads && (reply == nil || reply == "") || !reads && phases[0] == phase.Dual {
		legacy, line := on(false)
		sent = append(sent, line)
		if reads {
			reply = legacy
		}
	}
	if c.use.Class == command.ClassCount && held {
		reply = 1
	}
	return reply, sent, nil
}

// naiveModel is the plain flag flip, instance by instance and with no gate, for an
// application that sends some commands, from a state in which nothing is left of an
// earlier try.
func naiveModel(p phase.Phase, key symbol, calls ...string) *model {
	m := newModel(phase.Mirror, Server{})
	m.engine = &naiveEngine{m.set}
	m.calls, m.full, m.plain, m.stranger = newCalls(calls...), false, true, false
	m.steps = nil
	for _, step := range [][2]phase.Phase{{phase.Legacy, phase.Dual}, {phase.Dual, phase.Drain}, {phase.Drain, phase.Dual}, {phase.Dual, phase.Legacy}} {
		m.steps = append(m.steps, phase.Step{Strategy: phase.Mirror, From: step[0], To: step[1]})
	}
	m.start = []state{{fleet: fleet{from: p, to: p}, content: content{legacy: key, bare: key}}}
	return m
}
