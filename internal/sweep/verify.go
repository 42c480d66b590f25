package sweep

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
)

// verify compares the two names of every key: type, value and expiry time, to the millisecond unless a tolerance is given.
// It changes nothing, so the only question is whether what it reports is so, while writers write:
//
//   - Before that, short strings that are plainly equal are settled ([verify.settleShort]).
//   - First look, a page at a time: DUMP and PEXPIRETIME of both names. What is equal is equal. DUMP tells equal values
//     apart (members of a hashtable in another order, another encoding), so where it differs the values are read whole and
//     compared by what the type means. The two names are not read at one moment here: a write between the two
//     reads looks like a difference.
//   - Second look, a key at a time: a snapshot of both names that a WATCH or a MULTI/EXEC has made sure is one ([snapshot]).
//     Only what differs there is reported. A key that changed in every one of many tries is reported as unsettled.
//
// A key that is changed, deleted, expires or is created at the same moment is so under both names in one transaction, or
// by one clock; a snapshot sees both names before it or both after.
//
// Which name may be missing depends on the phase ([expectations]). Values never leave this file and its neighbours.
type verify struct {
	*run
	expect expectation
	traits traits

	sampling sampling
	long     int  // so many pages take the long way yet
	timeless bool // no key of the database had an expiry time when the last page was asked
}

// expectation is what a phase makes of a key with only one name, and of one with two.
type expectation struct {
	missing bool // a legacy key without target is wrong
	orphan  bool // a target key without legacy copy is wrong
	double  bool // two copies are wrong; otherwise they have to be equal
}

// expectations of the phases. A name that is dead in a phase may be missing.
var expectations = map[phase.Strategy]map[phase.Phase]expectation{
	phase.Mirror: {
		phase.Legacy:   {orphan: true},
		phase.Guard:    {orphan: true},
		phase.Dual:     {missing: true, orphan: true},
		phase.Settled:  {missing: true, orphan: true},
		phase.Drain:    {missing: true},
		phase.Sealed:   {missing: true},
		phase.Prefixed: {missing: true},
	},
	phase.Relocate: {
		phase.Legacy:   {orphan: true, double: true},
		phase.Hold:     {double: true},
		phase.Move:     {double: true},
		phase.Prefixed: {missing: true, double: true},
	},
}

// traits are what the server can tell about a key.
type traits struct {
	expiry    string // PEXPIRETIME, or PTTL on servers before 7.0
	fieldTTLs bool   // fields of hashes may expire
}

// pttlTolerance is for servers that tell only how long a key has left: the clock moves between the two answers.
const pttlTolerance = 20 // milliseconds

func newVerify(r *run) *verify { return &verify{run: r, expect: expectations[r.strategy][r.Phase]} }

// prepare asks what the server can.
func (j *verify) prepare(ctx context.Context, l *link) error {
	probe := controlKey(j.Plan, j.Kind, j.Rule)
	has := func(words ...any) (bool, error) {
		c := command(words)
		_, err := l.client.Do(ctx, c...).Result()
		if unknownCommand(err) {
			return false, nil
		}
		if code(err) == "WRONGTYPE" {
			return true, nil // the probe is a string
		}
		return true, serverError(c.name(), err)
	}
	j.traits.expiry = "PEXPIRETIME"
	ok, err := has("PEXPIRETIME", probe)
	if err != nil {
		return err
	}
	if !ok {
		j.traits.expiry = "PTTL"
		j.note(fmt.Sprintf("the server does not tell expiry times: they are compared to %d ms", pttlTolerance))
	}
	j.traits.fieldTTLs, err = has("HPEXPIRETIME", probe, "FIELDS", "1", "f")
	return err
}

// look fixes the sample, where there is one: so many keys of all there are, or a part of them.
func (j *verify) look(ctx context.Context, links []*link) error {
	if j.Sample == 0 {
		return nil
	}
	rate := j.Sample
	if rate > 1 {
		var names int64
		for _, l := range links {
			n, err := l.client.DBSize(ctx).Result()
			if err != nil {
				return serverError("DBSIZE", err)
			}
			names += n
		}
		rate = min(1, rate/float64(max(names, 1)))
	}
	j.sampling = newSampling(rate)
	j.result.Sample = &Sample{Rate: rate}
	return nil
}

// sampled leaves out the keys that are not in the sample. Those that are compared are counted.
func (j *verify) sampled(keys []key) []key {
	if j.result.Sample == nil {
		return keys
	}
	keys = slices.DeleteFunc(keys, func(k key) bool { return !j.sampling.picks(k.legacy) })
	j.result.Sample.Compared += int64(len(keys))
	return keys
}

// passes walks the names of which a lone one is wrong; where neither is, those of which there are fewer.
func (j *verify) passes() []pass {
	switch {
	case j.expect.missing && j.expect.orphan:
		return []pass{{bothSides, j.compareBoth}}
	case j.expect.missing || j.Phase == phase.Move:
		return []pass{{legacySide, j.compare}}
	default:
		return []pass{{targetSide, j.compare}}
	}
}

func (j *verify) ended(context.Context, *link) error {
	if s := j.result.Sample; s != nil {
		s.Differ = j.result.Found()
		s.AtMost = upperBound(s.Differ, s.Compared)
	}
	return nil
}

func (j *verify) prove(phase.Gate) (bool, string) {
	if j.result.Sample != nil {
		return false, "a sample says nothing about every key; run verify without --sample"
	}
	if n := j.result.Found(); n > 0 {
		return false, fmt.Sprintf("%d keys differ; `rekey verify %s --repair --execute` makes the legacy copies what the targets are, then verify again", n, j.Rule)
	}
	return true, ""
}

// compareBoth begins a page of names of both sides. A key is compared where its legacy name is found; where its target is,
// the question is whether it has a legacy copy.
func (j *verify) compareBoth(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	legacy, target := make([]key, 0, len(keys)), make([]key, 0, len(keys))
	for _, k := range keys {
		if k.found == targetSide {
			target = append(target, k)
		} else {
			legacy = append(legacy, k)
		}
	}
	orphaned, err := j.orphans(ctx, l, target)
	if err != nil {
		return nil, err
	}
	compared, err := j.compare(ctx, l, legacy)
	if err != nil {
		return nil, err // the connection is lost: there is nothing more to read
	}
	return func() error {
		err := orphaned()
		return cmp.Or(compared(), err)
	}, nil
}

// orphans looks for target keys without a legacy copy. Where all the legacy copies of a page are there, one answer says so.
func (j *verify) orphans(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	if j.result.Sample != nil {
		keys = slices.DeleteFunc(keys, func(k key) bool { return !j.sampling.picks(k.legacy) })
	}
	return j.startAll(ctx, l, "EXISTS", keys, func(k key) string { return k.legacy }, func(there int64) error {
		if there == int64(len(keys)) {
			return nil
		}
		var alone []key
		err := j.each(ctx, l, keys,
			func(k key) command { return command{"EXISTS", k.legacy} },
			func(k key, exists int64, err error) error {
				if exists == 0 {
					alone = append(alone, k)
				}
				return err
			})
		if err != nil {
			return err
		}
		if j.result.Sample != nil {
			j.result.Sample.Compared += int64(len(alone)) // the others are compared under their legacy names
		}
		return j.examine(ctx, l, alone)
	})
}

// compare begins the first look at a page. Its end takes the second at what differs in it.
func (j *verify) compare(ctx context.Context, l *link, keys []key) (end func() error, err error) {
	return j.settleShort(ctx, l, j.sampled(keys), func(rest []key) error {
		small, doubtful, err := j.measure(ctx, l, rest)
		if err != nil {
			return err
		}
		for len(small) > 0 {
			n, bytes := 0, int64(0)
			for n < len(small) && (n == 0 || bytes < batchBytes) {
				bytes += small[n].bytes
				n++
			}
			differ, err := j.firstLook(ctx, l, small[:n])
			if err != nil {
				return err
			}
			doubtful, small = append(doubtful, differ...), small[n:]
		}
		return j.examine(ctx, l, doubtful)
	})
}

// examine is the second look at some keys. What it finds is reported, and mended if that was asked for.
func (j *verify) examine(ctx context.Context, l *link, keys []key) error {
	if len(keys) == 0 {
		return nil
	}
	conn := l.client.Conn() // WATCH belongs to a connection
	defer conn.Close()      // back to the pool; a snapshot leaves no WATCH behind
	for _, k := range keys {
		class, detail, err := j.secondLook(ctx, conn, k)
		if err != nil {
			return err
		}
		heavy, err := j.heavy(ctx, conn, class, k)
		if err != nil {
			return err
		}
		if heavy != "" {
			detail = strings.TrimPrefix(detail+"; "+heavy, "; ")
			j.note("some keys that differ are left as they are, for copying them would stall the server; --big-keys now mends them too")
		}
		if class == "" || !j.found(class, l, k, detail) || !j.Repair || !j.Execute || heavy != "" {
			continue
		}
		did, err := j.repair(ctx, conn, class, k)
		if err != nil {
			return err
		}
		if did != "" && len(j.result.Repairs) < max(j.Examples, 0) {
			j.result.Repairs = append(j.result.Repairs, Problem{Class: class, Database: l.database, Legacy: k.legacy, Target: k.target, Detail: did})
		}
	}
	return nil
}

// heavy says why a key that is to be repaired is left: what is copied then is too big. "" where nothing is in the way.
func (j *verify) heavy(ctx context.Context, conn *redis.Conn, class Class, k key) (why string, err error) {
	from := k.target
	switch {
	case !j.Repair || j.BigKeys == BigNow || class == "" || class == Unsettled:
		return "", nil
	case class == Missing && j.Phase == phase.Dual:
		from = k.legacy
	case class == Missing:
		return "", nil // the legacy key is removed
	}
	w, err := weighOne(ctx, conn, from, j.BigStall)
	if err != nil {
		return "", err
	}
	_, why = j.BigKeys.Treat(Verify, j.strategy, j.Phase, w, j.BigStall)
	return why, nil
}

// repair makes the legacy copy what the target is, as every write of the phase does that runs once: target wins, for it
// is what reads see. It is one transaction, which finds the key as it is then:
//
//   - dual: C L P; UNLINK L; C P L. An L alone is read by dual, so it is copied and not lost. If the server cannot
//     copy the key the first COPY says so and so does the last, after L was removed; so a key without a target
//     is only copied.
//   - settled: UNLINK L; C P L. An L alone is a miss in settled, and stays one.
//
// It says what it did, "" for nothing.
func (j *verify) repair(ctx context.Context, conn *redis.Conn, class Class, k key) (did string, err error) {
	copyToTarget, dropLegacy, copyToLegacy := command{"COPY", k.legacy, k.target}, command{"UNLINK", k.legacy}, command{"COPY", k.target, k.legacy}
	commands, did := []command{dropLegacy, copyToLegacy}, "the legacy copy was made anew from the target"
	switch {
	case class == Unsettled:
		return "", nil // nothing is known to be wrong with it
	case j.Phase == phase.Dual && class == Missing:
		commands, did = []command{copyToTarget}, "the legacy key was copied to its target"
	case class == Missing:
		did = "the legacy key was removed: reads do not see it"
	case j.Phase == phase.Dual:
		commands = []command{copyToTarget, dropLegacy, copyToLegacy}
	}
	replies, _, err := transaction(ctx, conn, commands)
	if err != nil {
		return "", err
	}
	for i, reply := range replies {
		if err, failed := reply.(error); failed {
			return "", serverError(commands[i].name(), err)
		}
	}
	j.result.Changed++
	return did, nil
}
