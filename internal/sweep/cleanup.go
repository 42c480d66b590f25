package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/classwaves/rekey/phase"
)

// cleanup removes legacy keys whose target is there, and names the others. It proves that no legacy key is left (mirror:
// drain or sealed to prefixed), or, before a step back from sealed, that none is without its target: dual would copy it
// back to life.
//
// It looks at a page (EXISTS P, OBJECT IDLETIME L) and then removes what may go, so time passes between. No history in
// sealed or drain makes the UNLINK L wrong, because in both an L whose P exists is dead and nobody makes another L:
//
//   - changed: a write leaves P as the truth and removes L itself. An L that is there was not written since dual, so it is
//     what P was, and nobody reads it.
//   - deleted: the delete removed P and L in one transaction. UNLINK finds nothing.
//   - expired or evicted: P is gone after the look, and L is removed with it. If it expired L had expired as well; if it
//     was evicted the key is a miss, which is what eviction is.
//   - created: as changed; P is there and L is not.
//
// An L without P, looked at again with both names in one transaction: in drain it is the only copy and backfill has to be
// run first. In sealed nobody reads it: a client outside rekey wrote it, or its P was evicted. It is named, and removed
// only when asked for.
//
// Somebody who does not go through rekey may still use the legacy names. Idle time tells, if no sweep has read the key
// since: servers before 7.2 count that as use.
type cleanup struct{ *run }

// ErrIdleUnknown is a cleanup that was told to look at idle times on a server that keeps none.
var ErrIdleUnknown = errors.New("rekey: the server's maxmemory policy is LFU, so it keeps no idle times; " +
	"see with `rekey audit` that nobody uses the legacy names, then run cleanup with --min-idle 0")

func (j *cleanup) passes() []pass { return []pass{{legacySide, j.begin}} }

// begin asks how many of the targets are there. Where it is all of them, nothing more has to be asked.
func (j *cleanup) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.startAll(ctx, l, "EXISTS", keys, func(k key) string { return k.target }, func(there int64) error {
		if there == int64(len(keys)) {
			return j.remove(ctx, l, keys, nil)
		}
		dead, alone, err := j.split(ctx, l, keys)
		if err != nil {
			return err
		}
		return j.remove(ctx, l, dead, alone)
	})
}

// remove removes what has a target and names what has none.
func (j *cleanup) remove(ctx context.Context, l *link, dead, alone []key) (err error) {
	for _, k := range alone {
		j.found(Missing, l, k, j.why())
	}
	if j.RemoveStrays {
		dead = append(dead, alone...)
	} else {
		j.strays += int64(len(alone)) // left where they are
	}
	if dead, err = j.idle(ctx, l, dead); err != nil {
		return err
	}
	if !j.Execute {
		for _, k := range dead {
			j.found(Remaining, l, k, "")
		}
		return nil
	}
	if j.Trash > 0 {
		return j.discard(ctx, l, dead)
	}
	if len(dead) == 0 {
		return nil
	}
	names := make([]string, 0, len(dead))
	for _, k := range dead {
		names = append(names, k.legacy)
	}
	removed, err := l.client.Unlink(ctx, names...).Result()
	j.result.Changed += removed
	return serverError("UNLINK", err)
}

// why a legacy key has no target.
func (j *cleanup) why() string {
	switch {
	case j.Phase == phase.Drain:
		return "it was never copied: run backfill first"
	case j.RemoveStrays && j.Execute:
		return "removed, as asked: a client outside rekey wrote it, or its target was evicted"
	default:
		return "a client outside rekey wrote it, or its target was evicted"
	}
}

// split tells the keys that have a target from those that do not.
func (j *cleanup) split(ctx context.Context, l *link, keys []key) (dead, alone []key, err error) {
	var unsure []key
	err = j.each(ctx, l, keys,
		func(k key) command { return command{"EXISTS", k.target} },
		func(k key, exists int64, err error) error {
			if exists > 0 {
				dead = append(dead, k)
			} else {
				unsure = append(unsure, k)
			}
			return err
		})
	if err != nil || len(unsure) == 0 {
		return dead, nil, err
	}
	// SCAN saw the legacy name some time before. Both names at one moment tell whether the key is simply gone.
	var commands []command
	for _, k := range unsure {
		commands = append(commands, command{"EXISTS", k.legacy}, command{"EXISTS", k.target})
	}
	replies, _, err := transaction(ctx, l.client, commands)
	if err != nil {
		return nil, nil, err
	}
	for i, k := range unsure {
		switch legacy, target := replies[2*i], replies[2*i+1]; {
		case legacy == int64(0):
		case target == int64(0):
			alone = append(alone, k)
		default:
			dead = append(dead, k)
		}
	}
	return dead, alone, nil
}

// idle leaves out and names the keys that were used a short time ago.
func (j *cleanup) idle(ctx context.Context, l *link, keys []key) (idle []key, err error) {
	if j.MinIdle == 0 {
		return keys, nil
	}
	err = j.each(ctx, l, keys,
		func(k key) command { return command{"OBJECT", "IDLETIME", k.legacy} },
		func(k key, seconds int64, err error) error {
			switch {
			case code(err) == "ERR" && !unknownCommand(err):
				if j.Execute {
					return ErrIdleUnknown
				}
				j.note("idle times were not looked at: the server's maxmemory policy is LFU, and it keeps none")
				idle = append(idle, k)
			case err != nil:
				return err
			case time.Duration(seconds)*time.Second < j.MinIdle:
				j.found(Busy, l, k, fmt.Sprintf("used %d s ago", seconds))
				j.note("some legacy keys were used within " + j.MinIdle.String() + ": by a client outside rekey, or (on servers before 7.2) by a sweep that read them")
			default:
				idle = append(idle, k)
			}
			return nil
		})
	return idle, err
}

func (j *cleanup) prove(g phase.Gate) (bool, string) {
	if n := j.strays; n > 0 {
		if j.Phase == phase.Drain {
			return false, fmt.Sprintf("%d legacy keys have no target; run `rekey backfill %s`, then cleanup again", n, j.Rule)
		}
		return false, fmt.Sprintf("%d legacy keys have no target; look at them, then remove them with `rekey cleanup %s --strays --execute`", n, j.Rule)
	}
	if n := j.result.Problems[Busy]; n > 0 && (g == phase.NoLegacy || j.RemoveStrays) {
		return false, fmt.Sprintf("%d legacy keys were used a short time ago; find out by whom (`rekey audit`), then run cleanup again", n)
	}
	if n := j.result.Problems[Remaining]; n > 0 && (g == phase.NoLegacy || j.RemoveStrays) {
		return false, fmt.Sprintf("%d legacy keys exist; remove them with `rekey cleanup %s --execute`", n, j.Rule)
	}
	return true, ""
}
