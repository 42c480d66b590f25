package sweep

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// ErrNoTrash is a cleanup into the trash on a server that does not tell expiry times, which an undo has to give back.
var ErrNoTrash = errors.New("rekey: the server has no PEXPIRETIME, without which expiry times could not be given back; " +
	"use a server of version 7.0 or newer, or cleanup without --trash")

// A dead legacy key L in the trash is named {control prefix}trash:{rule}:{expiry}:{L}, in the same database: under the control
// prefix no rule matches it and no sweep touches it. The expiry, in milliseconds or "never", is the one that L had. The
// key's own is the earlier one of that and of the trash, so that nothing lives longer in the trash than it would have.
func trashPrefix(p *plan.Plan, rule string) string { return p.ControlPrefix() + "trash:" + rule + ":" }

const neverExpires = "never"

// trashName is a legacy name's in the trash.
func (r *run) trashName(legacy string, expiry int64) string {
	text := neverExpires
	if expiry >= 0 {
		text = strconv.FormatInt(expiry, 10)
	}
	return trashPrefix(r.Plan, r.Rule) + text + ":" + legacy
}

// parseTrash gives back what was put into a trash name; expiry is -1 for none.
func (r *run) parseTrash(name string) (legacy string, expiry int64, ok bool) {
	rest, ok := strings.CutPrefix(name, trashPrefix(r.Plan, r.Rule))
	text, legacy, cut := strings.Cut(rest, ":")
	if !ok || !cut {
		return "", 0, false
	}
	if text == neverExpires {
		return legacy, -1, true
	}
	expiry, err := strconv.ParseInt(text, 10, 64)
	return legacy, expiry, err == nil && expiry >= 0
}

// discard renames dead legacy keys into the trash instead of removing them. It may as well as UNLINK (see [cleanup]): for
// everybody who goes through rekey L is gone after both. A key's rename and its new expiry are one transaction, so that a sweep
// that is killed leaves none in the trash for ever. RENAME, not RENAMENX: what is there under the same name is an older dead
// copy of the same key.
func (j *cleanup) discard(ctx context.Context, l *link, keys []key) error {
	var expiries []int64
	var there []key
	err := j.each(ctx, l, keys,
		func(k key) command { return command{"PEXPIRETIME", k.legacy} },
		func(k key, expiry int64, err error) error {
			switch {
			case unknownCommand(err):
				return ErrNoTrash
			case err == nil && expiry != gone:
				there, expiries = append(there, k), append(expiries, expiry)
			}
			return err
		})
	if err != nil || len(there) == 0 {
		return err
	}
	now, err := l.client.Time(ctx).Result()
	if err != nil {
		return serverError("TIME", err)
	}
	until := now.Add(j.Trash).UnixMilli()
	var commands []command
	for i, k := range there {
		name := j.trashName(k.legacy, expiries[i])
		commands = append(commands, command{"MULTI"}, command{"RENAME", k.legacy, name}, command{"PEXPIREAT", name, until, "LT"}, command{"EXEC"})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		if err := serverError(commands[i].name(), reply.Err()); err != nil && !errors.Is(err, redis.Nil) && !vanished(reply.Err()) {
			return err
		}
		if answers, ok := reply.Val().([]any); ok && len(answers) == 2 && answers[0] == "OK" {
			j.result.Changed++
		}
	}
	return nil
}

// undo brings legacy keys back from the trash, exactly as they were, where that is as if they had never gone.
//
// In sealed and drain, the phases of cleanup, an L whose P is there is dead, and is what P is: it was not written since both
// were, for every write removes it. The steps back build on that: dual replays writes on L, and copies an L whose P is gone
// back to life. So a key comes back only if its trash T, its expiry included, is what P is at that moment. T, P and L are
// watched from before the comparison to the transaction that renames T:
//
//   - changed: P is another value than T, or the WATCH sees the write. T stays. After the rename the write removes L itself.
//   - deleted or expired: there is no P, so T stays: L would bring the key back.
//   - created anew: P is another value, as changed.
//   - L is there: somebody outside rekey wrote it. RENAMENX leaves it, and so T.
//
// In prefixed a write would leave the L that came back behind, and it would be stale at the next step back; so undo is
// refused there, as cleanup is: one step back to sealed, which is always allowed, comes first.
type undo struct {
	*run
	look *verify
}

func newUndo(r *run) *undo { return &undo{run: r, look: &verify{run: r}} }

func (j *undo) prepare(ctx context.Context, l *link) error {
	if err := j.look.prepare(ctx, l); err != nil {
		return err
	}
	if j.look.traits.expiry != "PEXPIRETIME" {
		return ErrNoTrash
	}
	return nil
}

func (j *undo) passes() []pass { return []pass{whole(trashSide, j.page)} }

func (j *undo) page(ctx context.Context, l *link, keys []key) error {
	if len(keys) == 0 {
		return nil
	}
	conn := l.client.Conn() // WATCH belongs to a connection
	defer conn.Close()      // back to the pool; bringBack leaves no WATCH behind
	for _, k := range keys {
		why, err := j.bringBack(ctx, conn, k)
		switch {
		case err != nil:
			return err
		case why != "":
			j.found(Discarded, l, k, why)
		case j.Execute:
			j.result.Changed++
		default:
			j.found(Remaining, l, k, "it would come back")
		}
	}
	return nil
}

// bringBack restores one key, or says why it stays in the trash.
func (j *undo) bringBack(ctx context.Context, conn *redis.Conn, k key) (why string, err error) {
	if err := conn.Do(ctx, "WATCH", k.trash, k.target, k.legacy).Err(); err != nil {
		return "", serverError("WATCH", err)
	}
	defer func() { err = errors.Join(err, unwatch(ctx, conn)) }()
	twins := key{legacy: k.trash, target: k.target}
	s, err := j.look.take(ctx, conn, twins)
	if err != nil {
		return "", err
	}
	_, expiry, _ := j.parseTrash(k.trash)
	switch {
	case s.legacy == noType:
		return "", nil // it expired since SCAN gave it
	case s.target == noType:
		return "it has no target: that was deleted, expired or evicted since, or it was a stray", nil
	case s.legacy != s.target || expiry != s.expiryT:
		return "its target was written since", nil
	}
	same, err := j.look.sameValue(ctx, conn, s, twins)
	if err != nil && !errors.Is(err, errChanged) {
		return "", err
	}
	if !same {
		return "its target was written since", nil
	}
	there, err := conn.Exists(ctx, k.legacy).Result()
	if err != nil {
		return "", serverError("EXISTS", err)
	}
	if there > 0 {
		return "the legacy name exists: a client outside rekey wrote it", nil
	}
	if !j.Execute {
		return "", nil
	}
	restore := command{"PERSIST", k.legacy}
	if expiry >= 0 {
		restore = command{"PEXPIREAT", k.legacy, expiry}
	}
	_, done, err := transaction(ctx, conn, []command{{"RENAMENX", k.trash, k.legacy}, restore})
	if err == nil && !done {
		why = "it was written while it was looked at; once more may do"
	}
	return why, err
}

func (j *undo) prove(phase.Gate) (bool, string) {
	if !j.Execute {
		return false, "an undo was looked at, which proves nothing; run cleanup again for its proof"
	}
	return false, "keys were brought back from the trash; run cleanup again when they are to go"
}

// trashGlob matches the names of the rule in the trash.
func (r *run) trashGlob() []byte {
	return append(keyname.AppendGlobLiteral(nil, []byte(trashPrefix(r.Plan, r.Rule))), '*')
}

// trashKeys picks the names that discard made.
func (r *run) trashKeys(names []string) []key {
	var keys []key
	pair := r.names.Pair(r.rule)
	for _, name := range names {
		legacy, _, ok := r.parseTrash(name)
		if !ok {
			continue
		}
		if target, ok := pair.AppendTarget(nil, []byte(legacy)); ok {
			keys = append(keys, key{legacy: legacy, target: string(target), trash: name})
		}
	}
	return keys
}
