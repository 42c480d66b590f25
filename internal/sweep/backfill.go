package sweep

import (
	"context"
	"fmt"

	"github.com/classwaves/rekey/phase"
)

// backfill gives every legacy key its target copy. It proves that each has one (mirror: dual or drain to settled or
// sealed), for there reads look at the target alone.
//
// COPY L P without REPLACE is what a read does in these phases anyway, so the sweep is one reader more. It is one atomic
// command, keeps the TTL, and does nothing if P exists or L does not:
//
//   - changed: before the COPY, the write has made P (dual and drain write P), and P stays; after it, the write finds P.
//     With REPLACE a copy of an L that drain no longer writes would overwrite the newer P.
//   - deleted: the delete removed both names in one transaction; before it the COPY made a P that the delete removes,
//     after it there is no L to copy.
//   - expired: L is as good as missing for COPY, and P has the expiry of L.
//   - created: the write made P. SCAN may miss it, and need not find it.
//
// In guard the same COPY would leave a P that the phase beside it, legacy, does not know of; in settled an L without P is
// what eviction has left, a miss that must not come back. So neither is allowed.
//
// It begins only where the copies will fit into the server's memory ([budget]).
type backfill struct {
	*run
	budget budget
}

func (j *backfill) look(ctx context.Context, links []*link) (err error) {
	j.budget, err = j.budgeted(ctx, links)
	return err
}

func (j *backfill) passes() []pass {
	if j.budget.refuse != "" {
		return nil
	}
	return []pass{{legacySide, j.begin}}
}

func (j *backfill) ended(ctx context.Context, control *link) error {
	return j.outcome(ctx, control, j.budget)
}

func (j *backfill) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.copies(ctx, l, keys, func(k key) string { return k.legacy },
		func(k key) command { return command{"COPY", k.legacy, k.target} })
}

// copies begins a page of keys to copy: those that are not too big, if they are to be weighed. from is the name that is
// copied, by the command of words.
func (r *run) copies(ctx context.Context, l *link, keys []key, from func(key) string, words func(key) command) (end func() error, err error) {
	if r.BigKeys == BigNow {
		return r.start(ctx, l, keys, words, r.copied(l))
	}
	return r.light(ctx, l, keys, from, func(plain, rename []key) error {
		if err := r.renamed(ctx, l, rename); err != nil {
			return err
		}
		return r.each(ctx, l, plain, words, r.copied(l))
	})
}

// copied counts the answers of COPY. A type that cannot be copied is a key's problem; anything else the sweep's.
func (r *run) copied(l *link) func(key, int64, error) error {
	return func(k key, n int64, err error) error {
		if err != nil && code(err) == "ERR" && !unknownCommand(err) {
			r.found(Uncopyable, l, k, "the server cannot copy its type; move the rule with strategy: move")
			return nil
		}
		r.result.Changed += n
		return err
	}
}

func (j *backfill) prove(phase.Gate) (bool, string) {
	if j.budget.refuse != "" {
		return false, j.budget.refuse
	}
	if n := j.result.Problems[Uncopyable]; n > 0 {
		return false, fmt.Sprintf("%d keys are of a type that the server cannot copy; move the rule with strategy: move, or remove them", n)
	}
	if reason, some := j.leftBig(); some {
		return false, reason
	}
	return true, ""
}
