package rewrite

import (
	"bytes"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// SCAN, KEYS and RANDOMKEY see physical names. The application is shown logical ones,
// by their legacy form, and MATCH speaks of these.

// Phases gives the phase of each rule of a set.
type Phases interface {
	Phase(rule int) phase.Phase
}

// AppendLogical appends to dst the name that the application is shown for a physical
// name, or says that it is not shown: a control key, or a name under which the phase
// looks for nothing.
//
// In phases that look under both names both are shown, so one logical name may come
// twice in a walk of SCAN, which SCAN allows. To hide L where P exists would miss a
// key that is always there: the cursor may have passed P's place before P was made.
func AppendLogical(dst []byte, set *keyname.Set, phases Phases, name []byte) (logical []byte, shown bool) {
	rule, target := set.Find(name)
	if rule == NoRule {
		if c := set.Control(); len(c) > 0 && bytes.HasPrefix(name, c) {
			return dst, false
		}
		return append(dst, name...), true
	}
	t := &treatments[phases.Phase(rule)]
	both := len(t.read) > 0
	if !target {
		return append(dst, name...), both || !t.onTarget
	}
	if !both && !t.onTarget {
		return dst, false
	}
	return set.Pair(rule).AppendLegacy(dst, name)
}

// AppendScanPattern appends a pattern that every physical name matches whose logical
// name matches the given one, or says that there is none shorter than everything. It
// spares the connection the names of other keys; what comes is filtered again.
func AppendScanPattern(dst []byte, set *keyname.Set, pattern []byte) ([]byte, bool) {
	for i := range set.Len() {
		if !contains(set.Pair(i)) {
			return dst, false
		}
	}
	if len(pattern) == 0 || string(pattern) == "*" { // the patterns that match the empty name
		return append(dst, pattern...), true
	}
	if !keyname.GlobEnds(pattern) {
		return dst, false
	}
	dst = append(dst, '*')
	dst = append(dst, pattern...)
	return append(dst, '*'), true
}

// contains says that a rule's target names hold the legacy name as it is, which is
// what prefixing does.
func contains(p *keyname.Pair) bool {
	return bytes.HasSuffix([]byte(p.Target().String()), []byte(p.Legacy().String()))
}
