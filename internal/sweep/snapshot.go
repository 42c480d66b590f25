package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// snapshot is what the two names of a key were at one moment.
type snapshot struct {
	now              time.Time // by the server's clock
	legacy, target   valueType
	expiryL, expiryT int64
	small            bool // both values may be read whole
}

// secondLook says what is wrong with a key, "" if nothing is. What it says was so at one moment: all is read under a WATCH
// of both names, and an empty transaction at the end is executed only if neither has changed.
func (j *verify) secondLook(ctx context.Context, conn *redis.Conn, k key) (Class, string, error) {
	for try := range tries {
		look := j.watched
		if try >= alone {
			look = j.atOnce
		}
		class, detail, unchanged, err := look(ctx, conn, k)
		if err != nil || unchanged {
			return class, detail, err
		}
	}
	return Unsettled, fmt.Sprintf("it changed each of %d times that it was compared", tries), nil
}

// watched reads both names under WATCH. unchanged is false if the reading counts for nothing.
func (j *verify) watched(ctx context.Context, conn *redis.Conn, k key) (class Class, detail string, unchanged bool, err error) {
	if err := conn.Do(ctx, "WATCH", k.legacy, k.target).Err(); err != nil {
		return "", "", false, serverError("WATCH", err)
	}
	s, err := j.take(ctx, conn, k)
	if err != nil {
		return "", "", false, errors.Join(err, unwatch(ctx, conn))
	}
	if err := j.leaveOutFieldless(ctx, conn, k, &s); err != nil {
		if errors.Is(err, errChanged) {
			return "", "", false, unwatch(ctx, conn)
		}
		return "", "", false, errors.Join(err, unwatch(ctx, conn))
	}
	if lone := (s.legacy == noType) != (s.target == noType); lone && j.lastMoment(s) > 0 {
		return "", "", false, errors.Join(unwatch(ctx, conn), pause(ctx, j.lastMoment(s)))
	}
	class, detail = j.judge(s)
	if class == "" && s.legacy != noType && s.target != noType {
		same, err := j.sameValue(ctx, conn, s, k)
		if errors.Is(err, errChanged) {
			return "", "", false, unwatch(ctx, conn)
		}
		if err != nil {
			return "", "", false, errors.Join(err, unwatch(ctx, conn))
		}
		class, detail = j.judgeValue(s, same)
	}
	_, unchanged, err = transaction(ctx, conn, nil)
	return class, detail, unchanged, err
}

// atOnce reads small values inside one transaction; others as [verify.watched] does. The types must be known before, and
// those that were read with the values must be the same.
func (j *verify) atOnce(ctx context.Context, conn *redis.Conn, k key) (class Class, detail string, unchanged bool, err error) {
	s, err := j.take(ctx, conn, k)
	if err != nil {
		return "", "", false, err
	}
	if s.legacy != s.target || !s.small || !s.legacy.whole(j.traits) {
		return j.watched(ctx, conn, k)
	}
	t := s.legacy
	replies, _, err := transaction(ctx, conn, append(j.describe(k), t.read(k.legacy), t.read(k.target)))
	if err != nil {
		return "", "", false, err
	}
	if s, err = j.parse(replies[:len(replies)-2]); err != nil {
		return "", "", false, err
	}
	if s.legacy != t || s.target != t {
		return "", "", false, nil
	}
	if wait := j.lastMoment(s); wait > 0 {
		return "", "", false, pause(ctx, wait)
	}
	if class, detail = j.judge(s); class == "" {
		class, detail = j.judgeValue(s, t.same(replies[len(replies)-2], replies[len(replies)-1]))
	}
	return class, detail, true, nil
}

// leaveOutFieldless makes no key of a hash whose twin is gone and whose fields have all expired: the server removes the two names
// at different moments.
func (j *verify) leaveOutFieldless(ctx context.Context, conn *redis.Conn, k key, s *snapshot) error {
	if !j.traits.fieldTTLs {
		return nil
	}
	t := &twins{k, conn, j.traits}
	var err error
	var none bool
	switch {
	case s.legacy == hashType && s.target == noType:
		if none, err = t.fieldless(ctx, k.legacy); none {
			s.legacy = noType
		}
	case s.target == hashType && s.legacy == noType:
		if none, err = t.fieldless(ctx, k.target); none {
			s.target = noType
		}
	}
	return err
}

// describe is the commands that say all about both names but their values.
func (j *verify) describe(k key) []command {
	return []command{
		{"TIME"}, {"TYPE", k.legacy}, {"TYPE", k.target}, {j.traits.expiry, k.legacy}, {j.traits.expiry, k.target},
		{"MEMORY", "USAGE", k.legacy}, {"MEMORY", "USAGE", k.target},
	}
}

// take sends them, as they are.
func (j *verify) take(ctx context.Context, conn *redis.Conn, k key) (s snapshot, err error) {
	commands := j.describe(k)
	replies, err := pipeline(ctx, conn, commands)
	if err != nil {
		return s, err
	}
	answers := make([]any, len(replies))
	for i, reply := range replies {
		if answers[i] = reply.Val(); reply.Err() != nil {
			answers[i] = reply.Err()
		}
	}
	return j.parse(answers)
}

func (j *verify) parse(answers []any) (s snapshot, err error) {
	for i, name := range []string{"TIME", "TYPE", "TYPE", j.traits.expiry, j.traits.expiry, "MEMORY USAGE", "MEMORY USAGE"} {
		failed, ok := answers[i].(error)
		if !ok || name == "MEMORY USAGE" && (code(failed) == "ERR" || errors.Is(failed, redis.Nil)) {
			continue
		}
		if err := serverError(name, failed); err != nil {
			return s, err
		}
	}
	clock, ok := words(answers[0])
	if !ok || len(clock) != 2 {
		return s, serverError("TIME", errors.New("unexpected answer"))
	}
	if s.now, err = serverTime(clock); err != nil {
		return s, serverError("TIME", err)
	}
	a, _ := answers[1].(string)
	b, _ := answers[2].(string)
	s.legacy, s.target = valueType(a), valueType(b)
	s.expiryL, _ = answers[3].(int64)
	s.expiryT, _ = answers[4].(int64)
	sizeL, _ := answers[5].(int64) // nothing from a server that does not tell
	sizeT, _ := answers[6].(int64)
	s.small = max(sizeL, sizeT) <= bigBytes
	return s, nil
}

// judge is the verdict on a key as far as it can be had without its value: type before expiry time, of which
// [verify.judgeValue] speaks when the values are equal.
func (j *verify) judge(s snapshot) (Class, string) {
	switch {
	case s.legacy == noType && s.target == noType:
		return "", ""
	case s.target == noType:
		if j.expect.missing {
			return Missing, "the target key does not exist"
		}
		return "", ""
	case s.legacy == noType:
		if j.expect.orphan {
			return Orphan, "the legacy key does not exist"
		}
		return "", ""
	case j.expect.double:
		return Double, "both names exist"
	case s.legacy != s.target:
		return Type, fmt.Sprintf("legacy %s, target %s", s.legacy, s.target)
	default:
		return "", ""
	}
}

func (j *verify) judgeValue(s snapshot, same bool) (Class, string) {
	switch {
	case !same:
		return Value, "the values of type " + string(s.legacy) + " differ"
	case !j.sameExpiry(s.expiryL, s.expiryT):
		return TTL, fmt.Sprintf("legacy %s, target %s", expiryText(s.expiryL), expiryText(s.expiryT))
	default:
		return "", ""
	}
}

func expiryText(ms int64) string {
	if ms < 0 {
		return "never expires"
	}
	return fmt.Sprintf("expires at %d ms", ms)
}

// lastMoment says how long to wait before what was seen counts: a name may expire between two commands, and one that is
// alone may have a twin that just has.
func (j *verify) lastMoment(s snapshot) (wait time.Duration) {
	for _, expiry := range []int64{s.expiryL, s.expiryT} {
		if expiry < 0 {
			continue
		}
		left := time.UnixMilli(expiry).Sub(s.now)
		if j.traits.expiry == "PTTL" {
			left = time.Duration(expiry) * time.Millisecond
		}
		if left <= nearExpiry {
			wait = max(wait, left, 0) + 2*time.Millisecond
		}
	}
	return wait
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func unwatch(ctx context.Context, conn *redis.Conn) error {
	return serverError("UNWATCH", conn.Do(ctx, "UNWATCH").Err())
}
