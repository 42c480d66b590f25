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
// in one moment here.
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
	reply, line := on(true)
	sent := []string{line}
	switch reads := c.use.Class == command.ClassRead; {
	case reads && reply == nil:
		reply, line = on(false)
		sent = append(sent, line)
	case !reads && phases[0] == phase.Dual:
		_, line = on(false)
		sent = append(sent, line)
	}
	return reply, sent, nil
}

// naiveModel is the plain flag flip, instance by instance and with no gate, for an
// application that sends some commands.
func naiveModel(calls ...string) *model {
	m := newModel(phase.Mirror, Server{})
	m.engine = &naiveEngine{m.set}
	m.calls, m.full, m.plain, m.stranger = newCalls(calls...), false, true, false
	m.steps = nil
	for _, step := range [][2]phase.Phase{{phase.Legacy, phase.Dual}, {phase.Dual, phase.Drain}, {phase.Drain, phase.Dual}, {phase.Dual, phase.Legacy}} {
		m.steps = append(m.steps, phase.Step{Strategy: phase.Mirror, From: step[0], To: step[1]})
	}
	// Nothing is left of an earlier try.
	for i := 0; i < len(m.start); {
		if m.start[i].content.target.data != absent {
			m.start = append(m.start[:i], m.start[i+1:]...)
		} else {
			i++
		}
	}
	return m
}
