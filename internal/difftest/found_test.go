package difftest

import (
	"strings"
	"testing"
)

// found are sequences in which these tests once found the engine to differ, as they were shrunk.
// They run in every phase and every pair of phases, also at full memory.
var found = []struct{ what, lines string }{
	{"a blocking command that is malformed, where there is no key", `
		0> bzmpop 0.01 2 a:z2 b:z2
		0> blmpop 0.01 1 a:l2`},
	{"a group of a stream that is not there", `
		0> xreadgroup group g1 c2 block 5 streams a:x2 >`},
	{"an error that quotes a name is no divergence", `
		0> xgroup destroy a:x2 g2
		0> xadd a:z1 8000000038909-2 f v
		1> xgroup create a:x1 g1 0`},
	{"nothing to take from one key while the other is there", `
		0> blmove a:l2 a:l1 left right 0.01`},
	{"blocking commands that can be served, also at full memory", `
		0> blpop a:l2 a:l1 0.01
		0> brpop a:l1 0.01
		0> bzpopmin a:z1 0.01
		1> bzpopmax a:z2 a:z1 0.01
		0> blmpop 0.01 2 a:l2 a:l1 left count 2
		0> bzmpop 0.01 1 a:z1 min
		0> xread count 1 block 5 streams a:x1 0
		0> blpop a:l2 0.01`},
	{"a read that may write, and does not", `
		0> getex a:s1
		0> bitfield a:b1 get u8 0
		1> georadius a:g1 15 37 200 km asc`},
	{"a write of a key that has no rule, and of one that has and is read", `
		0> sunionstore n:e1 a:e1 a:e2
		1> pfmerge n:p1 a:p1`},
	{"session commands with a word too many or too few", `
		0> watch
		0> multi
		0> discard now
		0> incr a:n1
		0> exec now
		0> incr a:n1
		0> multi now
		0> get a:n1`},
	{"deleted entries of a group between WATCH and MULTI", `
		0> xtrim a:x1 maxlen 2
		1> watch a:s1
		1> xreadgroup group g1 c1 streams a:x1 0`},
	{"nulls inside an array between WATCH and MULTI", `
		1> watch a:s1
		1> bitfield a:b1 set u2 0 3 overflow fail incrby u2 0 1 get u2 0
		1> mget a:s2 a:n2 a:s1 a:s2
		1> hmget a:h1 nf f1 nf
		1> zmscore a:z1 nm m1 nm
		1> geopos a:g2 palermo nowhere
		1> geohash a:g1 palermo nowhere`},
	{"what is not known of a group between WATCH and MULTI", `
		0> xgroup create a:x2 g1 0 mkstream
		0> xgroup createconsumer a:x2 g1 c1
		1> watch a:s1
		1> xpending a:x2 g1
		1> xinfo groups a:x2
		1> xinfo consumers a:x2 g1
		1> xinfo stream a:x2
		1> xinfo stream a:x2 full
		1> xinfo stream a:x1 full
		1> xinfo groups a:none`},
}

func TestFound(t *testing.T) {
	w := newWorld(t)
	defer w.setMemory(anyMemory)
	for _, f := range found {
		steps := stepsOf(f.lines)
		for p, a := range pairs() {
			for i := range 2 { // in turns, one protocol at full memory and the other with memory enough
				proto := 2 + (p+i)%2
				s := setting{a: a, b: a, protos: [2]int{proto, proto}, load: uint64(i), full: i == 1}
				c := newCounts()
				problem, err := w.runSequence(s, steps, c)
				if err != nil {
					t.Fatal(err)
				}
				if problem != nil {
					t.Errorf("%s: %v: step %d: %s", f.what, s, problem.at, problem.text)
				}
			}
		}
	}
}

// stepsOf reads a transcript of one command a line: the number of the connection, >, the words.
func stepsOf(lines string) (steps []step) {
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		fields := strings.Fields(line)
		st := step{conn: int(fields[0][0] - '0')}
		for _, text := range fields[1:] {
			st.words = append(st.words, word{text: text, key: len(text) == 4 && text[1] == ':'})
		}
		steps = append(steps, st)
	}
	return steps
}
