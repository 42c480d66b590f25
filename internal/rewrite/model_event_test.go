package rewrite

import (
	"fmt"

	"github.com/classwaves/rekey/phase"
)

// events are what happens to the key without a command: its time is over, a server
// without memory drops it, a stranger writes it.
func (s *search) events(at int, st state) {
	for ttl := uint8(1); ttl <= uint8(staler); ttl++ {
		if to, ok := expire(st.content, ttl); ok {
			s.follow(at, st, effectOf(st.content, to, fmt.Sprintf("the moment @%d has come", ttl)))
		}
	}
	if s.evicts {
		for _, name := range []string{legacyName, targetName} {
			if to, ok := evict(st.content, name); ok {
				s.follow(at, st, effectOf(st.content, to, "the server evicts "+name))
			}
		}
	}
	if c := st.content; s.stranger && st.whole() == phase.Sealed && c.legacy.data == absent && c.target.data == absent && c.bare.data == absent && st.proven == 0 {
		c.legacy.data = stale
		s.follow(at, st, effectOf(st.content, c.again(), "a stranger writes "+legacyName))
	}
}

// effectOf is what an event did.
func effectOf(from, to content, text string) effect {
	e := effect{to: to, text: text, changed: from.bare.data != absent && to.bare.data == absent}
	if from.legacy.data != absent && to.legacy.data == absent || from.legacy.data == absent && to.legacy.data != absent {
		e.touched |= touchesLegacy
	}
	if from.target.data != absent && to.target.data == absent {
		e.touched |= touchesTarget
	}
	return e
}

// expire removes what expires at a moment.
func expire(c content, ttl uint8) (content, bool) {
	found := false
	for _, y := range []*symbol{&c.legacy, &c.target, &c.bare} {
		if y.ttl == ttl {
			*y, found = symbol{}, true
		}
	}
	if c.bare.data == absent {
		c.missable = false
	}
	return c.again(), found
}

// evict drops one copy.
func evict(c content, name string) (content, bool) {
	gone, other := &c.legacy, &c.target
	if name == targetName {
		gone, other = other, gone
	}
	if gone.data == absent {
		return c, false
	}
	if *gone == c.bare {
		if *other == c.bare {
			c.missable = true
		} else {
			c.bare, c.missable = symbol{}, false
		}
	}
	*gone = symbol{}
	return c.again(), true
}

// vigils begin and end what instance A waits for.
func (s *search) vigils(at int, st state) {
	p := st.phaseOf(0)
	switch v := st.vigil; {
	case v.kind == noVigil && st.content.missable:
		// What it would wait for is not defined.
	case v.kind == noVigil:
		to := st
		to.vigil = vigil{kind: watching, phase: p}
		s.reach(at, to, fmt.Sprintf("A (%s): WATCH k:1 answers OK", p))
		e := s.run(&cachedCall, p, st.content, partner{}, conditions{})
		to.content, to.vigil.kind = e.to, caching
		s.reach(at, to, fmt.Sprintf("A (%s): with client-side caching, %s", p, e.text))
	case v.kind == watching && v.phase == p:
		// With other phases at MULTI than at WATCH, EXEC answers nil whatever happened.
		text := fmt.Sprintf("A (%s): MULTI; INCR k:1; EXEC runs", p)
		if v.blind {
			s.violate(at, text, "the key was changed after WATCH, a bare server answers nil")
			return
		}
		to := st
		to.vigil = vigil{}
		s.reach(at, to, text)
	}
}

// watched are the names whose change a vigil hears of, as the Builder sends them.
func (s *search) watched(v vigil) (names touch) {
	var b Builder
	c := watchCall
	if v.kind == caching {
		c = cachedCall
	}
	rc := c.rewriting(s.set, modelPhases{v.phase}, s.server)
	if v.kind == watching {
		b.Watch(&rc)
		return namesIn(b.Args(len(b.Lines) - 1))
	}
	rc.Tracking = true
	b.Command(&rc)
	for i, l := range b.Lines {
		switch l.Role {
		case Answer, Alternative, Looked, Tracked:
			names |= namesIn(b.Args(i))
		}
	}
	return names
}

var watchCall, cachedCall = newCall("WATCH k"), newCall("GET k")

func namesIn(words [][]byte) (names touch) {
	for _, w := range words {
		switch string(w) {
		case legacyName:
			names |= touchesLegacy
		case targetName:
			names |= touchesTarget
		}
	}
	return names
}
