package difftest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const (
	// secondsVariable is how long the random sequences run, in seconds.
	secondsVariable = "REKEY_DIFF_SECONDS"
	// seedVariable is the seed of an earlier run, to see its sequences again.
	seedVariable   = "REKEY_DIFF_SEED"
	defaultSeconds = 6
)

// budget is how long the random sequences of all pairs of phases may take.
func budget(t testing.TB) time.Duration {
	return time.Duration(fromEnvironment(t, secondsVariable, defaultSeconds)) * time.Second
}

func baseSeed(t testing.TB) uint64 {
	seed := fromEnvironment(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedVariable, seed)
	return seed
}

func fromEnvironment(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), fmt.Sprint(otherwise)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestSequences runs random sequences in every phase and every pair of phases that may stand side
// by side, until its time is over and every call was sent in every way.
func TestSequences(t *testing.T) {
	w := newWorld(t)
	total := w.sequences(t, leastSequences, budget(t))
	for name, known := range w.known {
		c, ok := command.Lookup(asArgs(strings.Fields(name)...))
		if !known || !ok || !c.TakesKeys() || uncovered[c.Name] != "" || c.Name != name {
			continue
		}
		if oneOutcome[name] == "" && (total.succeeded[name] == 0 || total.failed[name] == 0) {
			t.Errorf("%s succeeded %d times and failed %d times, want both at least once", name, total.succeeded[name], total.failed[name])
		}
	}
}

// sequences runs random sequences in every pair of phases, least of them at least in each.
func (w *world) sequences(t *testing.T, least int, budget time.Duration) *counts {
	base := baseSeed(t)
	all := pairs()
	total := newCounts()
	share := budget / time.Duration(len(all))
	for p, a := range all {
		t.Run(a.String(), func(t *testing.T) {
			began := time.Now()
			for i := 0; i < least || time.Since(began) < share; i++ {
				w.random(t, base, p, i, all, total)
			}
		})
	}
	t.Logf("%d sequences, %d steps, %d transactions sent again", total.sequences, total.steps, total.abortedAgain)
	return total
}

// leastSequences is how many sequences each pair of phases gets, however slow the machine is:
// together they send every call in every way.
const leastSequences = 10

// random runs sequence i of the pair with index p.
func (w *world) random(t *testing.T, base uint64, p, i int, all []pair, c *counts) {
	t.Helper()
	rng := rand.New(rand.NewPCG(base, uint64(p)<<32|uint64(i)|1<<63))
	s := setting{
		a: all[p], b: all[rng.IntN(len(all))],
		protos: [2]int{2 + rng.IntN(2), 2 + rng.IntN(2)},
		load:   rng.Uint64(), twoCopies: rng.IntN(2) == 0, connect: w.connect,
	}
	s.vectors = w.known["vadd"] && s.a.copiesNothing() && s.b.copiesNothing()
	steps := newGenerator(w, base, s.vectors).sequence(rng, i*len(all)+p)
	f, err := w.runSequence(s, steps, c)
	if err != nil {
		t.Fatal(err)
	}
	if f != nil {
		w.report(t, s, steps, fmt.Sprintf("%d, sequence %d", base, i), f)
	}
}
