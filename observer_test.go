package rekey_test

import (
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// quickly is how often observers tell, and how long they wait for an answer.
const quickly = 500 * time.Millisecond

// observedPlan is a plan whose observers tell often.
func observedPlan(t *testing.T, server *redistest.Server) *plan.Plan {
	p := planOn(t, server)
	p.Fleet.Renew = quickly
	return p
}

// instances are the records of a plan's fleet.
func instances(t *testing.T, server *redistest.Server, p *plan.Plan) []fleet.Instance {
	t.Helper()
	all, _, err := fleet.NewStore(p, server.Client()).Instances(t.Context())
	must(t, err)
	return all
}

// TestFlagsAreObserved: a process that obeys flags is in the fleet's records with its phases, its counters and
// its connections, and leaves with its end.
func TestFlagsAreObserved(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	p := observedPlan(t, server)
	keys := fleet.KeysOf(p)
	var env environment
	env.set("CW_CACHE_DUAL_WRITE=1")
	r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup))
	must(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil)})
	must(t, rdb.Set(ctx, "secure_session:1", "v", 0).Err())
	must(t, rdb.Get(ctx, "secure_session:1").Err())
	shows := func(want phase.Phase) {
		t.Helper()
		redistest.WaitFor(t, fleetWithin, func() bool {
			all := instances(t, server, p)
			return len(all) == 1 && all[0].Observer && all[0].Rules["sessions"].Phase == want
		})
	}
	shows(phase.Guard)
	env.set("CW_CACHE_PREFIX_ENABLED=1")
	must(t, r.ReloadFlags(ctx))
	shows(phase.Dual)
	must(t, rdb.Get(ctx, "secure_session:1").Err())
	redistest.WaitFor(t, fleetWithin, func() bool {
		s := instances(t, server, p)[0].Rules["sessions"]
		return s.Reads == 2 && s.Fallbacks == 1 && s.Ungated == 1
	})
	one := instances(t, server, p)[0]
	if one.Rules["sessions"].Epoch != "" || one.Rules["sessions"].Mark != (fleet.Mark{Gen: -1, Seq: -1}) {
		t.Errorf("an observer says that it follows %+v", one.Rules["sessions"])
	}
	conns := func() int { return int(server.Client().SCard(ctx, keys.Conns(one.ID)).Val()) }
	if got := conns(); got != 1 {
		t.Errorf("%d connections are in its record, want 1", got)
	}
	// Taken for dead, it comes again.
	must(t, server.Client().HDel(ctx, keys.Fleet(), one.ID).Err())
	redistest.WaitFor(t, fleetWithin, func() bool {
		all := instances(t, server, p)
		return len(all) == 1 && all[0].ID != one.ID && server.Client().SCard(ctx, keys.Conns(all[0].ID)).Val() == 1
	})
	one = instances(t, server, p)[0]
	must(t, rdb.Close())
	redistest.WaitFor(t, fleetWithin, func() bool { return conns() == 0 })
	must(t, r.Close())
	if all := instances(t, server, p); len(all) != 0 {
		t.Errorf("after its end there is %+v", all)
	}
	if targets := server.Client().Exists(ctx, keys.Phase()).Val(); targets != 0 {
		t.Error("an observer made control records")
	}
}

// TestFlagsNeedNoRecords: where the records may not be written or the server is away, a process with flags
// works as it would without them, and says once that nobody sees it.
func TestFlagsNeedNoRecords(t *testing.T) {
	server, ctx := redistest.Start(t), t.Context()
	must(t, server.Client().Do(ctx, "ACL", "SETUSER", "app", "on", ">pw", "~secure_session:*", "~cw:test:secure_session:*", "&*", "+@all").Err())
	p := observedPlan(t, server)
	url, err := plan.ParseURL(strings.Replace(server.URL(), "redis://", "redis://app:pw@", 1))
	must(t, err)
	p.Server.URL = url
	var log lockedBuffer
	var env environment
	env.set("CW_CACHE_DUAL_WRITE=1")
	r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup), rekey.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	must(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), Username: "app", Password: "pw"})
	const said = "records do not tell of it"
	redistest.WaitFor(t, fleetWithin, func() bool { return strings.Contains(log.String(), said) })
	for range 3 {
		must(t, rdb.Set(ctx, "secure_session:1", "v", 0).Err())
	}
	if n := strings.Count(log.String(), said); n != 1 {
		t.Errorf("it was said %d times, want once:\n%s", n, log.String())
	}
	must(t, rdb.Close())
	must(t, r.Close())

	server.Kill()
	r, err = rekey.Open(ctx, p, rekey.WithFlags(env.lookup))
	must(t, err)
	if got := r.Phases()["sessions"]; got != phase.Guard {
		t.Errorf("without a server it is at %v", got)
	}
	must(t, r.Close())
}

// TestForgottenObservers: records of observers that ended without a word a day ago go with the next one.
func TestForgottenObservers(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	p := planOn(t, server)
	keys, bare := fleet.KeysOf(p), server.Client()
	now, err := bare.Time(ctx).Result()
	must(t, err)
	const hour = 3600e6
	for id, record := range map[string]struct {
		age      int64
		observer bool
	}{"old": {25 * hour, true}, "recent": {hour, true}, "led": {25 * hour, false}} {
		text := `{"renewed":` + strconv.FormatInt(now.UnixMicro()-record.age, 10) + `,"lease":1000000,"id":"` + id + `","format":1`
		if record.observer {
			text += `,"observer":true`
		}
		must(t, bare.HSet(ctx, keys.Fleet(), id, text+`,"rules":{}}`).Err())
		must(t, bare.SAdd(ctx, keys.Conns(id), "run:1").Err())
	}
	var env environment
	r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	redistest.WaitFor(t, fleetWithin, func() bool { return bare.Exists(ctx, keys.Conns("old")).Val() == 0 })
	for id, want := range map[string]bool{"old": false, "recent": true, "led": true} {
		if got := bare.HExists(ctx, keys.Fleet(), id).Val(); got != want {
			t.Errorf("the record of %s is there: %v, want %v", id, got, want)
		}
		if got := bare.Exists(ctx, keys.Conns(id)).Val() == 1; got != want {
			t.Errorf("the connections of %s are there: %v, want %v", id, got, want)
		}
	}
}
