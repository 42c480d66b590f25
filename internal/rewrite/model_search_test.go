package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/classwaves/rekey/phase"
)

// This file searches all states of one key under a fleet of three instances that walks
// from phase to phase, breadth first, so that the history of what goes wrong is a
// shortest one.

// instances are enough: two that stand in one phase while a third is in the next.
const instances = 3

// fleet is where the instances are: those that moved are in phase to, the others in
// phase from. B moves before C, since it does not matter which of them does.
type fleet struct {
	from, to phase.Phase
	moved    [instances]bool
}

func (f fleet) phaseOf(i int) phase.Phase {
	if f.moved[i] {
		return f.to
	}
	return f.from
}

// whole is the phase of the whole fleet, 0 if there are two.
func (f fleet) whole() phase.Phase {
	if f.moved == [instances]bool{} {
		return f.from
	}
	return 0
}

func (f fleet) String() string {
	parts := make([]string, instances)
	for i := range parts {
		parts[i] = fmt.Sprintf("%c %s", 'A'+i, f.phaseOf(i))
	}
	return strings.Join(parts, ", ")
}

// vigil is what a connection of instance A waits for. One at a time is enough, because
// nobody notices it.
type vigil struct {
	kind  vigilKind
	phase phase.Phase
	// blind: the bare key changed and no name that is watched did.
	blind bool
	// visited is the name that SCAN came to.
	visited touch
}

type vigilKind uint8

const (
	noVigil  vigilKind = iota
	watching           // WATCH k, and EXEC is still to come
	caching            // the client holds the reply of GET k until an invalidation
	scanning           // a walk of SCAN came to one name and found nothing there
)

// state is one state of the model.
type state struct {
	fleet
	proven  uint16 // gates whose sweep visited the key since the whole fleet is in this phase
	content content
	vigil   vigil
}

// model is what is searched.
type model struct {
	world
	steps  []phase.Step
	evicts bool
	// turning: a step may be turned round before it is complete.
	turning bool
	// stranger: a program that does not go through rekey writes the legacy name of a key
	// that does not exist, while the whole fleet is in sealed and before any sweep came by.
	stranger bool
	// patient: a WATCH does not hold up the walk, nor does the walk end it; EXEC looks
	// only whether the phase is the one at WATCH.
	patient bool
	// scans: instance A makes a walk of SCAN in this phase, and there is no other vigil.
	scans phase.Phase
	// still: the fleet stays as it is.
	still bool
	start []state
	calls []call
	// with are the other keys of commands of two keys, which are in doubles.
	doubles []call
	with    []partner
}

// result is what a search found.
type result struct {
	states, transitions, runs int
	fleets                    map[[2]phase.Phase]bool // phases that stood beside each other
	history                   []string                // of the first violation; nil: none
	steps                     int                     // of the history
	// seen are the contents of the key while some instance is in a phase, whole while
	// all are.
	seen, whole map[phase.Phase]map[content]bool
}

// search is one run of a model.
type search struct {
	*model
	index  map[state]int
	states []state
	back   []origin
	memo   map[partner][]effect
	result result
}

// origin is how a state was reached.
type origin struct {
	state int
	text  string
}

func (m *model) search() result {
	s := &search{model: m, index: map[state]int{}, memo: map[partner][]effect{}}
	s.result.fleets = map[[2]phase.Phase]bool{}
	s.result.seen, s.result.whole = map[phase.Phase]map[content]bool{}, map[phase.Phase]map[content]bool{}
	for _, st := range m.start {
		s.reach(-1, st, "")
	}
	for at := 0; at < len(s.states) && s.result.history == nil; at++ {
		s.expand(at)
	}
	s.result.states = len(s.states)
	return s.result
}

// reach adds a state that follows from another one.
func (s *search) reach(from int, to state, text string) {
	if from >= 0 {
		s.result.transitions++
	}
	if _, ok := s.index[to]; ok {
		return
	}
	s.index[to] = len(s.states)
	s.states = append(s.states, to)
	s.back = append(s.back, origin{from, text})
	s.result.fleets[[2]phase.Phase{to.from, to.to}] = true
	for i := range instances {
		note(s.result.seen, to.phaseOf(i), to.content)
	}
	if p := to.whole(); p != 0 {
		note(s.result.whole, p, to.content)
	}
}

func note(seen map[phase.Phase]map[content]bool, p phase.Phase, c content) {
	if seen[p] == nil {
		seen[p] = map[content]bool{}
	}
	seen[p][c] = true
}

// violate ends the search with the history of a state and what went wrong in it.
func (s *search) violate(at int, text, wrong string) {
	if s.result.history != nil {
		return
	}
	lines := []string{"  !! " + wrong, "  " + text}
	for at >= 0 && s.back[at].state >= 0 {
		lines = append(lines, historyLine(s.back[at].text, s.states[at].content))
		at = s.back[at].state
	}
	s.result.steps = len(lines) - 1
	lines = append(lines, historyLine(s.states[at].fleet.String(), s.states[at].content))
	slices.Reverse(lines)
	s.result.history = lines
}

// historyLine shows what happened and what the two names and a bare key hold then.
func historyLine(text string, c content) string {
	return fmt.Sprintf("  %-76s %s", text, c)
}

func (s *search) expand(at int) {
	st := s.states[at]
	if !s.still {
		s.moves(at, st)
		s.sweeps(at, st)
	}
	for i := range instances {
		if p := st.phaseOf(i); i == 0 || p != st.phaseOf(i-1) && p != st.phaseOf(0) {
			s.commands(at, st, i, p)
		}
	}
	s.events(at, st)
	switch {
	case s.scans != 0:
		s.scan(at, st)
	case !s.plain:
		s.vigils(at, st)
	}
}

// moves are the steps of the fleet, one instance after the other.
func (s *search) moves(at int, st state) {
	if p := st.whole(); p != 0 {
		for _, step := range s.steps {
			if step.From != p || !provenAll(st.proven, step.Gates) {
				continue
			}
			for _, first := range []int{0, 1} {
				to := st
				to.to, to.moved[first], to.proven = step.To, true, 0
				s.moved(at, to, first)
			}
		}
		return
	}
	if i := slices.Index(st.moved[:], false); i >= 0 {
		for _, next := range []int{0, i} {
			if to := st; !to.moved[next] {
				to.moved[next] = true
				s.moved(at, to, next)
			}
		}
	}
	if s.turning {
		for _, next := range []int{0, 2, 1} {
			if to := st; to.moved[next] {
				to.moved[next] = false
				s.moved(at, to, next)
				if next != 0 {
					return
				}
			}
		}
	}
}

// moved reaches the state in which an instance has changed its phase.
func (s *search) moved(at int, to state, who int) {
	text := fmt.Sprintf("%c goes to %s", 'A'+who, to.phaseOf(who))
	if who == 0 && to.vigil.kind != watching {
		// A session drops the client's cache when phases change; a cursor kept across
		// phases is not covered.
		to.vigil = vigil{}
	}
	if to.moved == [instances]bool{true, true, true} {
		to.from, to.moved = to.to, [instances]bool{}
	}
	if to.whole() != 0 {
		to.to = to.from
		if to.vigil.phase != to.from && !s.patient {
			to.vigil = vigil{} // a phase is reached when no WATCH of an earlier one is open
		}
	}
	s.reach(at, to, text)
}

// commands are an application's, sent through one instance.
func (s *search) commands(at int, st state, who int, p phase.Phase) {
	key := partner{p, st.content}
	list, ok := s.memo[key]
	if !ok {
		var runs int
		list, runs = s.effects(p, st.content, s.calls, []partner{{}})
		s.result.runs += runs
		if len(s.with) > 0 && st.content.legacy.ttl+st.content.target.ttl+st.content.bare.ttl == 0 {
			more, runs := s.effects(p, st.content, s.doubles, s.with)
			list = append(list, more...)
			s.result.runs += runs
		}
		s.memo[key] = list
	}
	for _, e := range list {
		e.text = fmt.Sprintf("%c (%s): %s", 'A'+who, p, e.text)
		if e.wrong != "" {
			s.violate(at, e.text, e.wrong)
			return
		}
		s.follow(at, st, e)
	}
}

// follow reaches the state after an effect, and sees whether the vigil noticed it.
func (s *search) follow(at int, st state, e effect) {
	st.content = e.to
	switch {
	case st.vigil.kind == noVigil:
	case st.vigil.kind == scanning:
		if e.to.bare.data == absent {
			st.vigil = vigil{} // the key was not there all the time
		}
	default:
		if s.watched(st.vigil)&e.touched != 0 {
			st.vigil = vigil{} // EXEC will answer nil; the cached reply is dropped
		} else if e.changed {
			st.vigil.blind = true
			if st.vigil.kind == caching {
				s.violate(at, e.text, fmt.Sprintf("a client that cached GET k:1 in %s hears nothing of it", st.vigil.phase))
			}
		}
	}
	s.reach(at, st, e.text)
}
