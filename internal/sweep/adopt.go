package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// AdoptOptions is the adoption of one rule of a half-done migration: an older release has left keys under both names, and
// only its operator knows which of them it read.
type AdoptOptions struct {
	Client *redis.Client // as in [Options]
	Plan   *plan.Plan
	Rule   string
	// Reads is the name that the old release read: its value wins where both names exist. Where only one exists it is the
	// truth, for the release fell back to it.
	Reads Name
	// Leave is the parked phase at which the rule is left: every key is under that phase's name, and under no other.
	Leave phase.Phase
	// Execute makes it so. Without it the differences are listed and the changes counted.
	Execute bool
	// ClaimSharedLegacy as in [Options]; without it an adoption that is to be executed is refused with a *[SharedError] where
	// other environments have names: it moves legacy keys, and may not know whose they are.
	ClaimSharedLegacy bool
	// TTLTolerance is how far apart the two expiry times of a key may be before they are listed; 0: to the millisecond. A
	// release that writes both names by two commands gives them two expiry times that nobody has to decide about.
	TTLTolerance time.Duration
	Examples     int // as in [Options]
	// ReplicaTimeout and OnProgress as in [Options].
	ReplicaTimeout time.Duration
	OnProgress     func(Progress)
}

// Name is one of the two names of a logical key. The zero value is none.
type Name uint8

const (
	LegacyName Name = iota + 1
	TargetName
)

var nameTexts = [...]string{LegacyName: "legacy", TargetName: "target"}

func (n Name) String() string {
	if n == 0 || int(n) >= len(nameTexts) {
		return fmt.Sprintf("name(%d)", uint8(n))
	}
	return nameTexts[n]
}

// ParseName reads legacy or target.
func ParseName(text string) (Name, error) {
	if i := slices.Index(nameTexts[1:], text); i >= 0 {
		return Name(i + 1), nil
	}
	return 0, fmt.Errorf("rekey: %q is no name of a key; write legacy or target", text)
}

// AdoptResult is what an adoption found and did. In a dry run it is what would be done.
type AdoptResult struct {
	Counts
	// Differ is how many keys had two names with different values, types or expiry times; by class in Problems.
	Problems map[Class]int64
	Examples []Problem
	Notes    []string
	// Moved keys had one name, and it was not the one that stays. Replaced keys had two, and the one that stays got the
	// value of the other. Dropped keys had two, and the other was removed.
	Moved, Replaced, Dropped int64
}

// Differ returns how many keys had two names that differed.
func (r *AdoptResult) Differ() (n int64) {
	for _, count := range r.Problems {
		n += count
	}
	return n
}

// Adopt makes one copy of each key the truth. Every writer is stopped: that is the caller's word. A release that never read
// target names (flags 00) needs no adoption: what it left there is stale, and purge removes it.
//
// First, both names of every key that has two are compared and the differences listed. Then each key gets the one name
// that stays, S, from the other, X, in one command:
//
//   - the release read X: RENAME X S. It wins where S exists too.
//   - the release read S: RENAMENX X S, which moves X only where S is missing; where it is not, UNLINK X.
//
// A rename keeps type and TTL, copies nothing, and works for types that have no copy. It is one step: at no moment is
// a key gone that the old release would have shown, and an adoption that was killed is finished by another one with
// the same words, for the keys that are done have one name. A key that expires meanwhile is one that the release would
// have seen expire.
//
// The verdicts of the rule speak of other data from then on; they are removed first.
func Adopt(ctx context.Context, o AdoptOptions) (AdoptResult, error) {
	j, err := prepareAdoption(o)
	if err != nil {
		return AdoptResult{}, err
	}
	var links []*link
	for _, database := range o.Plan.Databases {
		links = append(links, newLink(o.Client, database, nil).watched(&j.waits))
	}
	closeAll := func() (err error) {
		for _, l := range links {
			err = errors.Join(err, l.close())
		}
		return err
	}
	defer j.watchSilence()()
	over := lateStop(ctx, closeAll)
	err = j.all(ctx, context.WithoutCancel(ctx), links)
	over()
	_ = closeAll() // nothing is buffered; after a late stop they are closed already
	r := &j.run.result
	j.out.Counts, j.out.Problems, j.out.Examples, j.out.Notes = r.Counts, r.Problems, r.Examples, r.Notes
	return j.out, err
}

// adoption is one adoption under way.
type adoption struct {
	*run
	reads  Name
	stays  side // the name that stays
	claims bool
	out    AdoptResult
}

func prepareAdoption(o AdoptOptions) (*adoption, error) {
	switch {
	case o.Reads != LegacyName && o.Reads != TargetName:
		return nil, fmt.Errorf("%w: %v is no name that a release reads", ErrOptions, o.Reads)
	case !o.Leave.Parked():
		return nil, fmt.Errorf("%w: a rule is left at legacy or at prefixed, not at %v", ErrOptions, o.Leave)
	}
	// A look at the data, as verify's: the run is prepared as one, in a phase that refuses nothing.
	r, err := prepare(Options{
		Client: o.Client, Plan: o.Plan, Rule: o.Rule, Kind: Verify, Phase: o.Leave,
		Execute: o.Execute, TTLTolerance: o.TTLTolerance, Examples: o.Examples, ReplicaTimeout: o.ReplicaTimeout, OnProgress: o.OnProgress,
	})
	if err != nil {
		return nil, err
	}
	j := &adoption{run: r, reads: o.Reads, claims: o.ClaimSharedLegacy}
	if o.Leave == phase.Prefixed {
		j.stays = targetSide
	}
	return j, nil
}

// all lists the differences in every database before anything is changed in one.
func (j *adoption) all(ctx, work context.Context, links []*link) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shared, err := j.others(work, links)
	if err != nil {
		return err
	}
	switch {
	case len(shared) > 0 && j.claims:
		j.note(claimedNote(shared))
	case len(shared) > 0 && j.Execute:
		return &SharedError{Job: "adoption", Rule: j.Rule, Environments: shared}
	case len(shared) > 0:
		j.note(sharedReason(shared))
	}
	look := &verify{run: j.run} // it expects nothing: keys with one name are none of its problems
	if err := look.prepare(work, links[0]); err != nil {
		return err
	}
	leftover := targetSide
	if j.stays == targetSide {
		leftover = legacySide
	}
	j.progress.Passes = 2 * len(links)
	if err := j.each(ctx, work, links, pass{targetSide, look.compare}); err != nil {
		return err
	}
	// What is counted is the keys that change.
	j.result.Counts = Counts{}
	if j.Execute {
		if err := j.forget(ctx, work, links[0]); err != nil {
			return err
		}
	}
	if err := j.each(ctx, work, links, whole(leftover, j.page)); err != nil {
		return err
	}
	if !j.Execute {
		return nil
	}
	return j.acknowledged(work, links[0])
}

// each makes one pass over every database.
func (j *adoption) each(ctx, work context.Context, links []*link, p pass) error {
	for _, l := range links {
		keys, err := l.client.DBSize(work).Result()
		if err != nil {
			return serverError("DBSIZE", err)
		}
		j.progress.Database, j.progress.Visited, j.progress.Keys = l.database, 0, keys
		j.progress.Pass++
		if err := j.walk(ctx, work, l, p, 0); err != nil {
			return err
		}
	}
	return nil
}

// page gives each key of one page the name that stays.
func (j *adoption) page(ctx context.Context, l *link, keys []key) error {
	stays := func(k key) string {
		if j.stays == targetSide {
			return k.target
		}
		return k.legacy
	}
	other := func(k key) string {
		if j.stays == targetSide {
			return k.legacy
		}
		return k.target
	}
	otherWins := (j.reads == TargetName) == (j.stays == legacySide)

	var double, alone []key
	err := j.run.each(ctx, l, keys,
		func(k key) command { return command{"EXISTS", stays(k)} },
		func(k key, n int64, err error) error {
			if n > 0 {
				double = append(double, k)
			} else {
				alone = append(alone, k)
			}
			return err
		})
	if err != nil {
		return err
	}
	if !j.Execute {
		j.out.Moved += int64(len(alone))
		if otherWins {
			j.out.Replaced += int64(len(double))
		} else {
			j.out.Dropped += int64(len(double))
		}
		return nil
	}
	if otherWins {
		move := func(count *int64) func(key, int64, error) error {
			return func(_ key, _ int64, err error) error {
				if vanished(err) {
					return nil
				}
				if err == nil {
					*count++
					j.result.Changed++
				}
				return err
			}
		}
		rename := func(k key) command { return command{"RENAME", other(k), stays(k)} }
		return errors.Join(
			j.run.each(ctx, l, alone, rename, move(&j.out.Moved)),
			j.run.each(ctx, l, double, rename, move(&j.out.Replaced)))
	}
	// Also what looked double: the name that stays may have expired since, and then the other one is what is left.
	var drop []key
	err = j.run.each(ctx, l, keys,
		func(k key) command { return command{"RENAMENX", other(k), stays(k)} },
		func(k key, moved int64, err error) error {
			if vanished(err) {
				return nil
			}
			j.out.Moved += moved
			j.result.Changed += moved
			if moved == 0 {
				drop = append(drop, k)
			}
			return err
		})
	if err != nil {
		return err
	}
	return j.run.each(ctx, l, drop,
		func(k key) command { return command{"UNLINK", other(k)} },
		func(_ key, n int64, err error) error {
			j.out.Dropped += n
			j.result.Changed += n
			return err
		})
}

// vanished: the name that was to be moved has expired.
func vanished(err error) bool {
	return code(err) == "ERR" && strings.Contains(err.Error(), "no such key")
}

// forget removes the rule's verdicts, and ends the sweeps that have left their records: what they have under way would take
// names away that were looked at.
func (j *adoption) forget(ctx, work context.Context, l *link) error {
	server, err := identify(work, l.client)
	if err != nil {
		return err
	}
	_, cut, err := j.awaitOthers(ctx, l, server.runID, func(phase.Phase) bool { return false })
	if err != nil {
		return err
	}
	for kind := Purge; kind.known(); kind++ {
		if err := l.client.Del(work, controlKey(j.Plan, kind, j.Rule)).Err(); err != nil {
			return serverError("DEL", err)
		}
	}
	if err := closeConnections(work, l, cut); err != nil {
		j.note("connections of a sweep that was interrupted could not be closed; give the user of rekey +client|kill")
	}
	return nil
}

// acknowledged notes the adoption under the control prefix and waits until the connected replicas have it: a failover that
// lost it would bring two names back.
func (j *adoption) acknowledged(ctx context.Context, l *link) error {
	conn := l.client.Conn()
	defer conn.Close() // back to the pool; what was sent was answered
	now, err := conn.Time(ctx).Result()
	if err != nil {
		return serverError("TIME", err)
	}
	data, err := json.Marshal(struct {
		Reads    string      `json:"reads"`
		Leave    phase.Phase `json:"leave"`
		RuleHash string      `json:"rule_hash"`
		Ended    time.Time   `json:"ended"`
	}{j.reads.String(), j.Phase, j.Plan.Hash(j.rule), now})
	if err != nil {
		return fmt.Errorf("rekey: note the adoption: %w", err)
	}
	// WAIT speaks of the writes of its own connection, and this one comes after all others.
	if err := conn.Set(ctx, j.Plan.ControlPrefix()+"sweep:adopt:"+j.Rule, data, 0).Err(); err != nil {
		return serverError("SET", err)
	}
	server, err := identify(ctx, conn)
	if err != nil || server.replicas == 0 {
		return err
	}
	n, err := conn.Do(ctx, "WAIT", server.replicas, j.ReplicaTimeout.Milliseconds()).Int()
	if err != nil {
		return serverError("WAIT", err)
	}
	if n < server.replicas {
		j.note(fmt.Sprintf("%d of %d connected replicas acknowledged the adoption within %v; wait until they have caught up before you go on", n, server.replicas, j.ReplicaTimeout))
	}
	return nil
}
