package keyname

// maxSubsets bounds the search of [Pair.exhausted]. Templates that a person writes need a few hundred.
const maxSubsets = 1 << 14

// exhausted reports whether every legacy name is also a target name of some environment: {a}:{b} to {b}:{a}. It
// searches for a legacy name that is none, walking the legacy automaton beside the set of states that the target's
// automata can be in. A search that is given up counts as "no": such a rule is useless and does no harm.
func (p *Pair) exhausted() bool {
	target := p.target
	if target.anyEnv != nil {
		target = target.anyEnv
	}
	legacy, against := p.legacy.chains()[0], target.chains()
	type state struct {
		at  int
		set string // for each automaton of the target, which of its states are possible: '1' or '0'
	}
	begin := state{0, startStates(against)}
	seen := map[state]bool{begin: true}
	queue := []state{begin}
	for len(queue) > 0 {
		now := queue[0]
		queue = queue[1:]
		if now.at == len(legacy) && !accepts(against, now.set) {
			return false
		}
		for _, m := range legacy.moves(now.at) {
			for _, c := range distinct(m.bytes, against, now.set) {
				next := state{m.to, advance(against, now.set, c)}
				if seen[next] {
					continue
				}
				if len(seen) == maxSubsets {
					return false
				}
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return true
}

func startStates(chains []chain) string {
	var set []byte
	for _, c := range chains {
		for state := range len(c) + 1 {
			set = append(set, bit(state == 0))
		}
	}
	return string(set)
}

func bit(on bool) byte {
	if on {
		return '1'
	}
	return '0'
}

// accepts reports whether one of the automata may be in its last state.
func accepts(chains []chain, set string) bool {
	for _, c := range chains {
		if set[len(c)] == '1' {
			return true
		}
		set = set[len(c)+1:]
	}
	return false
}

// advance is the set after one more byte.
func advance(chains []chain, set string, by byte) string {
	next := []byte(set)
	at := 0
	for _, c := range chains {
		for state := range len(c) + 1 {
			next[at+state] = '0'
		}
		for state := range len(c) + 1 {
			if set[at+state] != '1' {
				continue
			}
			for _, m := range c.moves(state) {
				if m.bytes.has(by) {
					next[at+m.to] = '1'
				}
			}
		}
		at += len(c) + 1
	}
	return string(next)
}

// distinct returns one byte of the set for each way in which the automata can go on.
func distinct(of *byteSet, chains []chain, set string) []byte {
	var out []byte
	seen := make(map[string]bool)
	for c := range 256 {
		if !of.has(byte(c)) {
			continue
		}
		if next := advance(chains, set, byte(c)); !seen[next] {
			seen[next] = true
			out = append(out, byte(c))
		}
	}
	return out
}
