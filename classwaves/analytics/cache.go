package analytics

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

//go:embed merge.lua
var mergeText string

// Scripts of the cache. [redis.Script] sends EVALSHA, and EVAL where the server does not have it.
var (
	mergeScript = redis.NewScript(mergeText)

	// fillDashboard stores a sum only where the entry is what it was before the summing up.
	fillDashboard = redis.NewScript(`
local now = redis.pcall('GET', KEYS[1])
if type(now) == 'table' and string.sub(now.err, 1, 9) ~= 'WRONGTYPE' then return now end
if type(now) ~= 'string' then now = '' end
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)
)

// After this many failures in a row the cache is left alone for a while; then one call tries it.
const (
	breakAfter = 3
	breakFor   = 500 * time.Millisecond
)

func (a *Analytics) newBreaker() *gobreaker.CircuitBreaker[any] {
	return gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Timeout:      breakFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsExcluded:   func(err error) bool { return errors.Is(err, errGaveUp) },
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, redis.Nil) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case from == gobreaker.StateClosed:
				a.counters.cacheOutages.Add(1)
				a.Logger.Warn("analytics: the cache is unavailable; the database answers")
			case to == gobreaker.StateClosed:
				a.Logger.Info("analytics: the cache is back")
			}
		},
	})
}

// errGaveUp is the caller's own end of waiting, which says nothing about the cache.
var errGaveUp = errors.New("the caller gave up")

// ask runs one step against the cache. Its errors are *unavailable.Error.
func (a *Analytics) ask(ctx context.Context, op string, step func(context.Context) error) error {
	_, err := a.breaker.Execute(func() (any, error) {
		within, cancel := context.WithTimeout(ctx, a.CacheTimeout)
		defer cancel()
		err := step(within)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", errGaveUp, err)
		}
		return nil, err
	})
	return unavailable.Wrap(op, err)
}

// entry reads a session's entry; nil for none, or one of another format.
func (a *Analytics) entry(ctx context.Context, sessionID string) (*record, error) {
	raw, err := a.raw(ctx, sessionID)
	if raw == nil || err != nil {
		return nil, err
	}
	rec, err := parseRecord(raw)
	if err != nil {
		a.counters.foreign.Add(1)
		return nil, nil // absent, and the next fill replaces it
	}
	return rec, nil
}

// raw reads the bytes of a session's entry; nil for none.
func (a *Analytics) raw(ctx context.Context, sessionID string) (raw []byte, err error) {
	key, err := keys.AnalyticsSession(sessionID)
	if err != nil {
		return nil, err
	}
	return a.get(ctx, "read session analytics", key)
}

// get reads the bytes of a key; nil for none. A key of another type is one of another format.
func (a *Analytics) get(ctx context.Context, op, key string) (raw []byte, err error) {
	err = a.ask(ctx, op, func(ctx context.Context) (err error) {
		raw, err = a.Redis.Get(ctx, key).Bytes()
		if failsoft.OtherType(err) {
			a.counters.foreign.Add(1)
			return nil
		}
		return err
	})
	return raw, err
}

// merging says what a merge may do beside merging.
type merging struct {
	create bool // make the entry where there is none
	event  bool // it brings an event: not for a session that has ended
	// groups are also summed up, and written; with ifChanged only where the session's entry changed.
	groups    []string
	ifChanged bool
}

// known is the merging of what was acknowledged before: the entries of all its groups follow.
func known(r *record) merging {
	how := merging{ifChanged: true}
	for id := range r.groups() {
		how.groups = append(how.groups, id)
	}
	return how
}

// merge merges a record into the session's entry. Absent: there was no entry and none was made; or
// one of another format.
func (a *Analytics) merge(ctx context.Context, r *record, how merging) (f figures, groups []groupFigures, absent bool, err error) {
	names, err := entryNames(r, how.groups)
	if err != nil {
		return f, nil, false, err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return f, nil, false, fmt.Errorf("encode session analytics: %w", err)
	}
	args := []any{
		data, flag(how.create), flag(how.event), a.Now().UnixMilli(),
		a.life(ttl.AnalyticsSession), a.life(ttl.AnalyticsGroup), a.life(ttl.AnalyticsDashboard), newMark(), flag(how.ifChanged),
	}
	for _, id := range how.groups {
		args = append(args, id)
	}
	var reply []string
	err = a.ask(ctx, "merge session analytics", func(ctx context.Context) (err error) {
		// Run once more by a client that lost the reply, it changes nothing more.
		reply, err = mergeScript.Run(ctx, a.Redis, names, args...).StringSlice()
		return err
	})
	if err != nil {
		return f, nil, false, err
	}
	return readMerged(reply, len(how.groups))
}

func entryNames(r *record, groups []string) ([]string, error) {
	session, err := keys.AnalyticsSession(r.SessionID)
	if err != nil {
		return nil, err
	}
	dashboard, err := keys.AnalyticsDashboard(r.TeacherID)
	if err != nil {
		return nil, err
	}
	names := []string{session, dashboard}
	for _, id := range groups {
		group, err := keys.AnalyticsGroup(id)
		if err != nil {
			return nil, err
		}
		names = append(names, group)
	}
	return names, nil
}

func readMerged(reply []string, groups int) (f figures, out []groupFigures, absent bool, err error) {
	switch {
	case len(reply) == 1 && reply[0] == "absent":
		return f, nil, true, nil
	case len(reply) == 1 && reply[0] == "ended":
		return f, nil, false, ErrEnded
	case len(reply) != 2+groups || reply[0] != "ok":
		return f, nil, false, unavailable.Wrap("merge session analytics", fmt.Errorf("unexpected reply of %d", len(reply)))
	}
	err = json.Unmarshal([]byte(reply[1]), &f)
	for _, text := range reply[2:] {
		var g groupFigures
		err = errors.Join(err, json.Unmarshal([]byte(text), &g))
		out = append(out, g)
	}
	return f, out, false, unavailable.Wrap("merge session analytics", err)
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// life is a lifetime in milliseconds.
func (a *Analytics) life(d time.Duration) int64 {
	if !a.NoJitter {
		d = ttl.Jitter(d)
	}
	return d.Milliseconds()
}

// newMark is what an update leaves in a dashboard's place. No two are equal, so that a reader sees
// any number of updates.
func newMark() string { return fmt.Sprintf(`{"stale":"%016x"}`, rand.Uint64()) }
