package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// begin asks how many of the targets are there and, if that matters, how long ago the legacy names were used. Where all
// targets are there, nothing more has to be asked.
func (j *cleanup) begin(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	if len(keys) == 0 {
		return done, nil
	}
	targets := make(command, 0, 1+len(keys))
	targets = append(targets, "EXISTS")
	for _, k := range keys {
		targets = append(targets, k.target)
	}
	commands := []command{targets}
	if j.MinIdle > 0 {
		for _, k := range keys {
			commands = append(commands, command{"OBJECT", "IDLETIME", k.legacy})
		}
	}
	var there int64
	staying := make(map[string]int64)
	answered, err := ask(ctx, l, commands, func(i int, a answer) error {
		if i > 0 {
			return j.idle(keys[i-1], a, staying)
		}
		there = a.n
		return serverError("EXISTS", a.err)
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := answered(); err != nil {
			return err
		}
		dead, alone := keys, []key(nil)
		if there < int64(len(keys)) {
			if dead, alone, err = j.split(ctx, l, keys); err != nil {
				return err
			}
		}
		return j.remove(ctx, l, dead, alone, staying)
	}, nil
}

// goneIdle, in place of how many seconds ago a key was used: there is none by now.
const goneIdle = -1

// idle notes a legacy name that stays, and how many seconds ago it was used.
func (j *cleanup) idle(k key, a answer, staying map[string]int64) error {
	switch {
	case code(a.err) == "ERR" && !unknownCommand(a.err):
		if j.Execute {
			return ErrIdleUnknown
		}
		j.note("idle times were not looked at: the server's maxmemory policy is LFU, and it keeps none")
	case a.err != nil:
		return serverError("OBJECT IDLETIME", a.err)
	case a.null:
		staying[k.legacy] = goneIdle
	case time.Duration(a.n)*time.Second < j.MinIdle:
		staying[k.legacy] = a.n
	}
	return nil
}

// remove removes what has a target and names what has none. What was used a short time ago stays and is named as well.
func (j *cleanup) remove(ctx context.Context, l *link, dead, alone []key, staying map[string]int64) error {
	for _, k := range alone {
		j.found(Missing, l, k, j.why())
	}
	if j.RemoveStrays {
		dead = append(dead, alone...)
	} else {
		j.strays += int64(len(alone)) // left where they are
	}
	dead = slices.DeleteFunc(dead, func(k key) bool {
		seconds, stays := staying[k.legacy]
		if stays && seconds != goneIdle {
			j.found(Busy, l, k, fmt.Sprintf("used %d s ago", seconds))
			j.note("some legacy keys were used within " + j.MinIdle.String() + ": by a client outside rekey, or (on servers before 7.2) by a sweep that read them")
		}
		return stays
	})
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

func (j *cleanup) prove(g phase.Gate) (bool, string) {
	if n := j.strays; n > 0 {
		if j.Phase == phase.Drain {
			return false, fmt.Sprintf("%d legacy keys have no target; run `rekey backfill %s`, then cleanup again", n, j.Rule)
		}
		return false, fmt.Sprintf("%d legacy keys have no target; look at them, then remove them with `rekey cleanup %s --remove-strays --execute`", n, j.Rule)
	}
	if n := j.result.Problems[Busy]; n > 0 && (g == phase.NoLegacy || j.RemoveStrays) {
		return false, fmt.Sprintf("%d legacy keys were used a short time ago; find out by whom (`rekey audit`), then run cleanup again", n)
	}
	if n := j.result.Problems[Remaining]; n > 0 && (g == phase.NoLegacy || j.RemoveStrays) {
		return false, fmt.Sprintf("%d legacy keys exist; remove them with `rekey cleanup %s --execute`", n, j.Rule)
	}
	return true, ""
}
