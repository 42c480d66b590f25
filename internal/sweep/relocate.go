package sweep

import (
	"context"
	"fmt"
	"strings"

	"github.com/classwaves/rekey/phase"
)

// relocate moves every legacy key to its target name. It proves that none is left under the legacy name (move: move to
// prefixed), for prefixed reads the target name alone.
//
// RENAMENX L P is what a write does in move before anything else. It is one atomic command, in constant time, keeps the
// TTL, and there is one copy before and after it:
//
//   - changed: before the RENAMENX, the write has moved the key itself and there is no L, which RENAMENX answers with an
//     error that says so; after it, the write finds P. A read looks at both names in one transaction. A transaction of the
//     application that watches the key is told that it changed, and tries again.
//   - deleted or expired: no L.
//   - created: in move a write makes P. SCAN may miss it, and need not find it.
//
// If both names exist RENAMENX does nothing: somebody who does not go through rekey made one of them, and which is right
// is for the operator to decide.
type relocate struct{ *run }

func (j *relocate) passes() []pass { return []pass{{legacySide, j.begin}} }

func (j *relocate) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.start(ctx, l, keys,
		func(k key) command { return command{"RENAMENX", k.legacy, k.target} },
		j.moved(l))
}

// moved counts the answers of RENAMENX.
func (r *run) moved(l *link) func(key, int64, error) error {
	return func(k key, n int64, err error) error {
		switch {
		case err != nil && code(err) == "ERR" && strings.Contains(err.Error(), "no such key"):
			return nil // moved, deleted or expired since SCAN gave it
		case err != nil:
			return err
		case n == 0:
			r.found(Double, l, k, "both names exist; a client outside rekey wrote one of them")
		}
		r.result.Changed += n
		return nil
	}
}

// single says whether every key that was found has one name.
func (r *run) single() (bool, string) {
	if n := r.result.Problems[Double]; n > 0 {
		return false, fmt.Sprintf("%d keys exist under both names; run `rekey audit`, decide which copy is right, remove the other", n)
	}
	return true, ""
}

func (j *relocate) prove(phase.Gate) (bool, string) { return j.single() }
