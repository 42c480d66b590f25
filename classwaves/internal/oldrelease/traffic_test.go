package oldrelease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/oldrelease"
	"github.com/classwaves/rekey/classwaves/keys"
)

// rollout is how many processes of a fleet of three are in each state, stage by stage, in the order that
// the seed gives: to both flags on, and further to dual write off.
var rollout = map[oldrelease.State][][]oldrelease.State{
	oldrelease.DualWrite: {
		{oldrelease.Old, oldrelease.Old, oldrelease.Old},
		{oldrelease.Old, oldrelease.Old, oldrelease.DualWrite},
		{oldrelease.Old, oldrelease.DualWrite, oldrelease.DualWrite},
		{oldrelease.DualWrite, oldrelease.DualWrite, oldrelease.DualWrite},
	},
	oldrelease.PrefixedOnly: {
		{oldrelease.DualWrite, oldrelease.DualWrite, oldrelease.PrefixedOnly},
		{oldrelease.DualWrite, oldrelease.PrefixedOnly, oldrelease.PrefixedOnly},
		{oldrelease.PrefixedOnly, oldrelease.PrefixedOnly, oldrelease.PrefixedOnly},
	},
}

// idsOfAKind is small, so that keys meet every kind of process.
const idsOfAKind = 25

// universe is every key that the traffic can make, by name; sets are those that are sets.
func universe(t testing.TB) (all []string, sets map[string]bool) {
	sets = make(map[string]bool)
	for i := range idsOfAKind {
		id := fmt.Sprint("id", i)
		all = append(all,
			name(t)(keys.QueryCache("session-list", id+":page:1")), name(t)(keys.TagVersion("teacher:"+id)),
			name(t)(keys.AnalyticsSession(id)), name(t)(keys.AnalyticsGroup(id)), name(t)(keys.AnalyticsDashboard(id)),
			name(t)(keys.SecureSession(id)), name(t)(keys.CSRF(id)),
			name(t)(keys.SessionAccessCode(id)), name(t)(keys.AccessCode(id)))
		set := name(t)(keys.TeacherSessions(id))
		all = append(all, set)
		sets[set] = true
	}
	return all, sets
}

// traffic is n random operations of a mixed fleet.
func traffic(t testing.TB, rng *rand.Rand, fleet []*oldrelease.Process, n int) {
	ctx := t.Context()
	all, sets := universe(t)
	id := func() string { return fmt.Sprint("id", rng.IntN(idsOfAKind)) }
	for i := range n {
		p := fleet[rng.IntN(len(fleet))]
		key := all[rng.IntN(len(all))]
		lifetime := time.Hour + time.Duration(rng.IntN(3600))*time.Second
		switch op := rng.IntN(10); {
		case op == 0:
			must(t, p.Assign(ctx, id(), id()))
		case op == 1:
			must(t, p.Release(ctx, id()))
		case op == 2:
			_, err := p.SessionMetrics(ctx, id(), func() string { return fmt.Sprint("filled", i) })
			must(t, err)
		case op == 3:
			must(t, p.Invalidate(ctx, "teacher:"+id()))
		case sets[key] && op < 8:
			must(t, p.Add(ctx, key, id(), lifetime))
		case sets[key]:
			must(t, p.Remove(ctx, key, id()))
		case op < 8 && !strings.HasPrefix(key, "tag"):
			must(t, p.Set(ctx, key, fmt.Sprint("value", i), lifetime))
		case op == 8:
			must(t, p.Delete(ctx, key))
		}
	}
}

// seen is what somebody can see of a key; the zero value is nothing.
type seen struct {
	value   string // a set's members in order
	expires int64  // milliseconds of the epoch, -1 never
}

// look reads many names at once: physical ones, or logical ones through rekey. sets are those that hold
// a set.
func look(ctx context.Context, t testing.TB, rdb *redis.Client, names []string, sets map[string]bool) map[string]seen {
	t.Helper()
	pipe := rdb.Pipeline()
	expires := make([]*redis.DurationCmd, len(names))
	members := make([]*redis.StringSliceCmd, len(names))
	values := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		expires[i] = pipe.PExpireTime(ctx, name)
		if sets[name] {
			members[i] = pipe.SMembers(ctx, name)
		} else {
			values[i] = pipe.Get(ctx, name)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	out := make(map[string]seen, len(names))
	for i, name := range names {
		at := expires[i].Val()
		if at == -2 { // no such key
			continue
		}
		s := seen{expires: int64(at)}
		if at > 0 {
			s.expires = at.Milliseconds()
		}
		if sets[name] {
			all := members[i].Val()
			slices.Sort(all)
			s.value = strings.Join(all, ",")
		} else {
			s.value = values[i].Val()
		}
		out[name] = s
	}
	return out
}
