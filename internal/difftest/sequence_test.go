package difftest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// step is one command of a sequence on one of the two connections.
type step struct {
	conn  int
	words []word
	// served is what the other connection sends while words wait. Their key is removed first: on
	// an empty one it does not matter which of the two commands a server sees first.
	served []word
	// expires: the command gave its key a moment to live; the next step waits for its end.
	expires bool
}

func (s step) String() string {
	line := fmt.Sprintf("%d> %s", s.conn, transcript(s.words))
	if s.served != nil {
		line += fmt.Sprintf("   (and, while it waits, %d> %s)", 1-s.conn, transcript(s.served))
	}
	if s.expires {
		line += "   (until the key is gone)"
	}
	return line
}

func transcript(words []word) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = w.physical()
		if q := strconv.Quote(parts[i]); len(q) != len(parts[i])+2 || parts[i] == "" || strings.Contains(parts[i], " ") {
			parts[i] = q
		}
	}
	return strings.Join(parts, " ")
}

// generator makes the sequences of one run: a bag of calls that every few sequences empty, so that
// each call comes as often as any other, with moves of several steps in between.
type generator struct {
	base  uint64
	lines []string // of calls that the server knows
	bag   []call
}

// call is one line to be sent in one way.
type call struct {
	line string
	how  spoiling
}

// ways are how often each line is in the bag.
var ways = []spoiling{asItIs, asItIs, asItIs, mixed, shortened, garbled}

func newGenerator(w *world, base uint64, vectors bool) *generator {
	list := calls
	if vectors {
		list += vectorCalls
	}
	g := &generator{base: base}
	for _, line := range callLines(list) {
		if !w.knows(line) {
			continue
		}
		g.lines = append(g.lines, line)
		for _, how := range ways {
			g.bag = append(g.bag, call{line, how})
		}
	}
	rng := rand.New(rand.NewPCG(base, 0))
	rng.Shuffle(len(g.bag), func(i, j int) { g.bag[i], g.bag[j] = g.bag[j], g.bag[i] })
	return g
}

// callsInSequence is how many calls of the bag go into one sequence.
const callsInSequence = 40

// sequence makes sequence number n.
func (g *generator) sequence(rng *rand.Rand, n int) (steps []step) {
	for i := range callsInSequence {
		c := g.bag[(n*callsInSequence+i)%len(g.bag)]
		steps = append(steps, step{conn: rng.IntN(2), words: wordsOf(rng, c.line, c.how)})
		switch rng.IntN(25) {
		case 0, 1:
			steps = append(steps, g.transaction(rng, rng.IntN(2))...)
		case 2:
			steps = append(steps, riffle(rng, g.transaction(rng, 0), g.transaction(rng, 1))...)
		case 3:
			steps = append(steps, waiting(rng))
		case 4:
			key := wordOf(rng, "%k")
			steps = append(steps, step{conn: rng.IntN(2), words: []word{{text: "pexpire"}, key, {text: "1"}}, expires: true})
		}
	}
	return steps
}

// any is a call of no bag, mostly one that is meant to succeed.
func (g *generator) any(rng *rand.Rand, conn int) step {
	how := asItIs
	if rng.IntN(10) == 0 {
		how = spoiling(rng.IntN(int(spoilings)))
	}
	return step{conn: conn, words: wordsOf(rng, g.lines[rng.IntN(len(g.lines))], how)}
}

// transaction is MULTI to EXEC, or to DISCARD, on one connection, with commands of the other in
// between, and often with a WATCH before it.
func (g *generator) transaction(rng *rand.Rand, conn int) (steps []step) {
	fixed := func(words string) {
		line := step{conn: conn}
		for _, w := range strings.Fields(words) {
			line.words = append(line.words, wordOf(rng, w))
		}
		steps = append(steps, line)
	}
	between := func(most int) {
		for range rng.IntN(most + 1) {
			who := conn
			if rng.IntN(3) == 0 {
				who = 1 - conn
			}
			steps = append(steps, g.any(rng, who))
		}
	}
	if rng.IntN(2) == 0 {
		fixed([]string{"watch %k", "watch %k %k", "watch %s %l %h", "watch"}[rng.IntN(4)])
		between(2)
		if rng.IntN(8) == 0 {
			fixed("unwatch")
		}
	}
	fixed("multi")
	between(4)
	fixed([]string{"exec", "exec", "exec", "exec", "exec", "discard", "discard now", "exec now"}[rng.IntN(8)])
	if rng.IntN(10) == 0 {
		fixed("exec")
	}
	return steps
}

// riffle merges two lists of steps at random.
func riffle(rng *rand.Rand, a, b []step) (steps []step) {
	for len(a)+len(b) > 0 {
		if from := &a; len(b) == 0 || len(a) > 0 && rng.IntN(2) == 0 {
			steps, *from = append(steps, (*from)[0]), (*from)[1:]
		} else {
			steps, b = append(steps, b[0]), b[1:]
		}
	}
	return steps
}

// waiting is a command that waits for what the other connection then sends.
func waiting(rng *rand.Rand) step {
	pairs := [][2]string{
		{"blpop %l 5", "rpush %l %v %v"},
		{"brpop %l 5", "lpush %l %v"},
		{"blmpop 5 1 %l left count 2", "rpush %l a b c"},
		{"bzpopmin %z 5", "zadd %z 1 m1 2 m2"},
		{"xread block 5000 streams %x 0", "xadd %x 8000000000000-7 f v"},
	}
	of := pairs[rng.IntN(len(pairs))]
	wait := wordsOf(rng, of[0], asItIs)
	key := wait[keyIn(wait)]
	served := wordsOf(rng, of[1], asItIs)
	served[keyIn(served)] = word{text: key.text, key: true, spelled: ruled(key.text) && rng.IntN(4) == 0}
	return step{conn: rng.IntN(2), words: wait, served: served}
}

// keyIn is the place of the first key.
func keyIn(words []word) int {
	return slices.IndexFunc(words, func(w word) bool { return w.key })
}
