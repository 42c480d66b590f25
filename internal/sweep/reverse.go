package sweep

import (
	"context"
	"fmt"

	"github.com/classwaves/rekey/phase"
)

// newReverse makes the way back, which is another one for each strategy.
func newReverse(r *run) job {
	if r.strategy == phase.Relocate {
		return &bringHome{r}
	}
	return &reverse{r}
}

// reverse gives every target key its legacy copy, as it is under the target name. It proves that each has one (mirror: dual
// back to guard), for guard reads the legacy name alone.
//
// COPY P L REPLACE is one atomic command: it reads P as it is when it runs, and in dual what reads see is P. A write in dual
// is one transaction on both names, so the COPY runs before it or after it, never between:
//
//   - changed: before the write, L and P are made equal and then both written; after it, they were equal and stay so. A
//     transaction of the application that watches the key is told that it changed, and tries again.
//   - deleted or expired: no P, so COPY does nothing, not even to L: an L alone is read by dual, which copies it.
//   - created: the write made L. SCAN may miss it, and need not find it.
//
// In no other phase are both names written and P the one that is read, but in settled, from where dual is one step. In
// drain and sealed L would be brought back that every write removes.
type reverse struct{ *run }

func (j *reverse) passes() []pass { return []pass{{targetSide, j.begin}} }

func (j *reverse) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.copies(ctx, l, keys, func(k key) string { return k.target },
		func(k key) command { return command{"COPY", k.target, k.legacy, "REPLACE"} })
}

func (j *reverse) prove(phase.Gate) (bool, string) {
	if n := j.result.Problems[Uncopyable]; n > 0 {
		return false, fmt.Sprintf("%d keys are of a type that the server cannot copy; they are only under their target names", n)
	}
	if reason, some := j.leftBig(); some {
		return false, reason
	}
	return true, ""
}

// bringHome moves every target key to its legacy name. It proves that none is left under the target name (move: hold back
// to legacy), for legacy reads the legacy name alone. The argument is that of [relocate] the other way round.
type bringHome struct{ *run }

func (j *bringHome) passes() []pass { return []pass{{targetSide, j.begin}} }

func (j *bringHome) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.start(ctx, l, keys,
		func(k key) command { return command{"RENAMENX", k.target, k.legacy} },
		j.moved(l))
}

func (j *bringHome) prove(phase.Gate) (bool, string) { return j.single() }
