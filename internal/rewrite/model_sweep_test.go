package rewrite

import (
	"fmt"

	"github.com/classwaves/rekey/phase"
)

// This file is the sweeps of the model, and what their gates hold.

func bit(g phase.Gate) uint16 { return 1 << g }

func provenAll(proven uint16, gates []phase.Gate) bool {
	for _, g := range gates {
		if proven&bit(g) == 0 {
			return false
		}
	}
	return true
}

// sweeps visit the key once, at any moment while the whole fleet is in one phase.
func (s *search) sweeps(at int, st state) {
	p := st.whole()
	if p == 0 {
		return
	}
	for _, step := range s.steps {
		if step.From != p {
			continue
		}
		for _, g := range step.Gates {
			visited := newStore()
			st.content.load(visited, legacyName, targetName)
			proven := visits[g](visited)
			to := st
			if proven {
				to.proven |= bit(g)
			}
			s.follow(at, to, effect{
				to:      s.after(visited, st.content),
				touched: touched(visited), text: fmt.Sprintf("%s (%s) visits the key", g.Sweep(), g),
			})
		}
	}
}

// after is the content of a key that something else than a command changed.
func (s *search) after(physical *store, from content) content {
	bare := newStore()
	from.bare.load(bare, legacyName)
	c, _ := s.contents(physical, bare, from)
	return c
}

// visits are the sweeps' visits to one key; each says whether its gate holds for the key.
var visits = map[phase.Gate]func(*store) bool{
	phase.NoTarget: func(s *store) bool { s.remove(targetName); return true },
	phase.Copied:   func(s *store) bool { s.send("COPY", legacyName, targetName); return true },
	phase.NoLegacy: func(s *store) bool {
		if s.has(targetName) {
			s.remove(legacyName)
		}
		return !s.has(legacyName)
	},
	phase.NoStray: func(s *store) bool {
		if !s.has(targetName) {
			s.remove(legacyName)
		}
		return true
	},
	phase.Reversed: func(s *store) bool { s.send("COPY", targetName, legacyName, "REPLACE"); return true },
	phase.Relocated: func(s *store) bool {
		s.send("RENAMENX", legacyName, targetName)
		return !s.has(legacyName)
	},
	phase.Returned: func(s *store) bool {
		s.send("RENAMENX", targetName, legacyName)
		return !s.has(targetName)
	},
}

func (s *store) has(name string) bool { _, ok := s.keys[name]; return ok }

func (s *store) send(words ...string) any {
	var args [][]byte
	for _, w := range words {
		args = append(args, []byte(w))
	}
	return s.do(args)
}
