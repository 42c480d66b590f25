package cli

import (
	"fmt"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// sweepPhase is the phase that the fleet is in, by its record: the controller sees to it that every instance
// is there. Without a fleet it is the operator's word (0: not given). The two must not say different things.
func sweepPhase(s *control.Status, rule int, kind sweep.Kind, assumed phase.Phase) (at phase.Phase, led bool, err error) {
	name, t := s.Rules[rule].Rule, s.Rules[rule].Target
	switch {
	case t == nil && assumed != 0:
		return assumed, false, nil
	case t == nil && (s.Empty || unled(s)):
		return 0, false, misused(fmt.Sprintf("rekey %s RULE --assume-phase %s, when it is so", kind, phasesText(kind)),
			"there is no fleet that could tell the phase that every process is in, so it takes your word: --assume-phase")
	case t == nil:
		return 0, false, failed("rekey status", "the fleet has no control record of rule %s", name)
	case assumed != 0 && assumed != t.Phase:
		return 0, false, misused("the same without --assume-phase", "the fleet is in phase %s of rule %s, and --assume-phase says %s", t.Phase, name, assumed)
	}
	return t.Phase, true, nil
}
