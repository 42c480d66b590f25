package rekey_test

import (
	"encoding/json"
	"errors"
	"fmt"
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

const fleetWithin = 30 * time.Second

// shortLease is for an instance that a test cuts off from its records: that lease runs out. All others have one that
// outlasts what a busy machine lets them wait for.
const shortLease = 2 * time.Second

// aFleet is a plan on a server of its own, and the records of its fleet.
type aFleet struct {
	t      *testing.T
	server *redistest.Server
	plan   *plan.Plan
	store  *fleet.Store
	bare   *redis.Client
}

func newFleet(t *testing.T) *aFleet {
	t.Helper()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync no"))
	return fleetOn(t, server, server.URL(), server.Client())
}

// fleetOn has instances that come to the server by a URL.
func fleetOn(t *testing.T, server *redistest.Server, url string, bare *redis.Client) *aFleet {
	t.Helper()
	text := `
version: 1
environment: test
server: {url: "` + url + `"}
fleet: {lease: 20s, renew: 1s, margin: 300ms}
rules:
  - {name: s, legacy: "s:{id}", target: "cw:{env}:s:{id}"}
`
	p, err := plan.Parse("test.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return &aFleet{t, server, p, fleet.NewStore(p, bare), bare}
}

// member joins the fleet, with a client over it.
func (f *aFleet) member(name string) (*rekey.Rekey, *redis.Client) {
	f.t.Helper()
	r, err := rekey.Open(f.t.Context(), f.plan, rekey.WithFleet(rekey.FleetConfig{Name: name}))
	if err != nil {
		f.t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: f.server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	f.t.Cleanup(func() {
		_ = rdb.Close() // a test may have closed it
		_ = r.Close()   // a test may have taken its server away
	})
	return r, rdb
}

// step sets the fleet's target as a controller does.
func (f *aFleet) step(to phase.Phase) {
	f.t.Helper()
	targets, err := f.store.Targets(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	next := targets["s"]
	next.Phase, next.Gen, next.Seq = to, 1, next.Seq+1
	f.set(next)
}

func (f *aFleet) set(next fleet.Target) {
	f.t.Helper()
	text, err := json.Marshal(next)
	if err != nil {
		f.t.Fatal(err)
	}
	k := f.store.Keys()
	if err := f.bare.HSet(f.t.Context(), k.Phase(), "s", text).Err(); err != nil {
		f.t.Fatal(err)
	}
	if err := f.bare.Publish(f.t.Context(), k.Events(), "s").Err(); err != nil {
		f.t.Fatal(err)
	}
}

// reached waits until every instance has acknowledged the target.
func (f *aFleet) reached(instances int) {
	f.t.Helper()
	redistest.WaitFor(f.t, fleetWithin, func() bool { return f.acknowledged() == instances })
}

func (f *aFleet) acknowledged() (n int) {
	f.t.Helper()
	targets, err := f.store.Targets(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	all, _, err := f.store.Instances(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, i := range all {
		if s := i.Rules["s"]; s.Mark == targets["s"].Mark && s.Epoch == targets["s"].Epoch {
			n++
		}
	}
	return n
}

func (f *aFleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestAFleetFollows: instances join at legacy, follow each step and say that they have reached it; one that
// joins later begins where the fleet is.
func TestAFleetFollows(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	_, one := f.member("one")
	_, two := f.member("two")
	f.must(one.Set(ctx, "s:1", "v", 0).Err())
	f.reached(2)
	for _, to := range []phase.Phase{phase.Guard, phase.Dual, phase.Settled, phase.Sealed, phase.Prefixed} {
		f.step(to)
		f.reached(2)
		if v, err := two.Get(ctx, "s:1").Result(); err != nil || v != "v" {
			t.Fatalf("in %s: %q, %v", to, v, err)
		}
		if to == phase.Dual {
			f.must(f.bare.Copy(ctx, "s:1", "cw:test:s:1", 0, false).Err())
		}
		if to == phase.Sealed {
			f.must(f.bare.Unlink(ctx, "s:1").Err())
		}
	}
	late, three := f.member("three")
	if p := late.Phases()["s"]; p != phase.Prefixed {
		t.Errorf("a late instance begins at %s", p)
	}
	if v, err := three.Get(ctx, "s:1").Result(); err != nil || v != "v" {
		t.Errorf("the late one reads %q, %v", v, err)
	}
	f.must(late.Close())
	all, _, err := f.store.Instances(ctx)
	f.must(err)
	if len(all) != 2 {
		t.Errorf("%d instances after one left, want 2", len(all))
	}
}

// TestAnInstanceIsClosedTwice: the second time does nothing, and gives what the first one did.
func TestAnInstanceIsClosedTwice(t *testing.T) {
	f := newFleet(t)
	r, _ := f.member("one")
	f.must(r.Close())
	f.must(r.Close())
}

// TestAnOpenTransactionDoesNotHoldAFleetUp: it is given up after a while, and says so.
func TestAnOpenTransactionDoesNotHoldAFleetUp(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	_, rdb := f.member("one")
	conn := rdb.Conn()
	f.must(conn.Do(ctx, "MULTI").Err())
	f.must(conn.Do(ctx, "SET", "s:1", "v").Err())
	f.step(phase.Guard)
	f.reached(1)
	if err := conn.Do(ctx, "EXEC").Err(); err == nil || !strings.Contains(err.Error(), "EXECABORT rekey:") {
		t.Errorf("EXEC: %v", err)
	}
	if n := f.bare.Exists(ctx, "s:1").Val(); n != 0 {
		t.Error("the transaction ran")
	}
	f.must(conn.Close())
}

// TestALeaseIsLostAndComesBack: an instance that cannot renew refuses commands of a rule that moves, before
// its record can be taken for lost, and goes on by itself when it can again. A rule that is parked needs
// no lease.
func TestALeaseIsLostAndComesBack(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	link, rdb := f.cutOff("one", shortLease)
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	link.Refuse()
	link.Cut()
	redistest.WaitFor(t, fleetWithin, f.lost)
	if err := rdb.Set(ctx, "s:1", "parked", 0).Err(); err != nil {
		t.Errorf("a parked rule without a lease: %v", err)
	}
	link.Accept()
	f.step(phase.Guard)
	f.reached(1)
	link.Refuse()
	link.Cut()
	var refused error
	redistest.WaitFor(t, fleetWithin, func() bool {
		late := f.lost()
		refused = rdb.Set(ctx, "s:1", "x", 0).Err()
		if refused == nil && late {
			t.Error("a command was sent after the lease could be taken for lost")
		}
		return refused != nil
	})
	if !strings.Contains(refused.Error(), "rekey: lease lost") {
		t.Errorf("refused with %v", refused)
	}
	link.Accept()
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Set(ctx, "s:1", "y", 0).Err() == nil })
}

// TestALeaseComesBackOverASlowLink: where nothing is left of a lease, a renewal may take its time; a server far away
// answers none at once.
func TestALeaseComesBackOverASlowLink(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	f.plan.Fleet.Renew = shortLease - 500*time.Millisecond
	link, rdb := f.cutOff("one", shortLease)
	f.step(phase.Guard)
	f.reached(1)
	link.Refuse()
	link.Cut()
	redistest.WaitFor(t, fleetWithin, f.lost)
	link.Delay(redistest.ToServer, 150*time.Millisecond)
	link.Delay(redistest.ToClient, 150*time.Millisecond)
	link.Accept()
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Set(ctx, "s:1", "y", 0).Err() == nil })
}

// TestARecordThatWasRemoved: somebody took the instance for dead. It closes its connections, joins again
// and begins where the fleet is by now.
func TestARecordThatWasRemoved(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	r, rdb := f.member("one")
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	f.step(phase.Guard)
	f.reached(1)
	all, _, err := f.store.Instances(ctx)
	f.must(err)
	if n := f.bare.SCard(ctx, f.store.Keys().Conns(all[0].ID)).Val(); n == 0 {
		t.Error("no connection is in the records")
	}
	f.must(f.bare.HDel(ctx, f.store.Keys().Fleet(), all[0].ID).Err())
	f.step(phase.Dual)
	f.reached(1)
	if p := r.Phases()["s"]; p != phase.Dual {
		t.Errorf("it is at %s", p)
	}
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Set(ctx, "s:1", "w", 0).Err() == nil })
	again, _, err := f.store.Instances(ctx)
	f.must(err)
	if len(again) != 1 || again[0].ID == all[0].ID {
		t.Errorf("instances %v after %v", again, all)
	}
}

// TestRecordsThatAreLostAreNotFollowed: FLUSHALL, or an older snapshot, turns nobody round; what was parked
// goes on, what was on its way stops, and goes on when the records are restored.
func TestRecordsThatAreLostAreNotFollowed(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	r, rdb := f.member("one")
	f.step(phase.Guard)
	f.reached(1)
	f.step(phase.Dual)
	f.reached(1)
	before, err := f.store.Targets(ctx)
	f.must(err)
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	older := before["s"]
	older.Phase, older.Seq = phase.Guard, older.Seq-1
	refused := func(what string) {
		t.Helper()
		redistest.WaitFor(t, fleetWithin, func() bool {
			err := rdb.Get(ctx, "s:1").Err()
			return err != nil && strings.Contains(err.Error(), "lease lost")
		})
		if p := r.Phases()["s"]; p != phase.Dual {
			t.Errorf("%s: the instance is at %s", what, p)
		}
	}
	other := before["s"]
	other.Phase = phase.Guard // the same step led elsewhere, after the server had lost the one that was followed
	f.set(other)
	refused("a record of another history")
	f.set(before["s"])
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Get(ctx, "s:1").Err() == nil })
	f.set(older)
	refused("an older record")
	f.must(f.bare.FlushAll(ctx).Err())
	refused("no records")
	f.must(f.bare.Set(ctx, "cw:test:s:1", "v", 0).Err())
	_, err = rekey.Open(ctx, f.plan, rekey.WithFleet(rekey.FleetConfig{Name: "two"}))
	if !errors.Is(err, fleet.ErrRestore) {
		t.Errorf("an instance that joins without records, with target names there: %v", err)
	}
	restored := before["s"]
	restored.Seq++
	f.set(restored)
	redistest.WaitFor(t, fleetWithin, func() bool { v, err := rdb.Get(ctx, "s:1").Result(); return err == nil && v == "v" })
}

// cutOff is a member whose records are reached over a link of their own, and its client, which is not.
func (f *aFleet) cutOff(name string, lease time.Duration) (*redistest.Link, *redis.Client) {
	f.t.Helper()
	link := redistest.SlowLink(f.t, f.server.Addr())
	p := *f.plan
	url, err := plan.ParseURL("redis://" + link.Addr())
	f.must(err)
	p.Server.URL, p.Fleet.Lease = url, lease
	r, err := rekey.Open(f.t.Context(), &p, rekey.WithFleet(rekey.FleetConfig{Name: name}))
	f.must(err)
	rdb := redis.NewClient(&redis.Options{Addr: f.server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	f.t.Cleanup(func() { _ = rdb.Close(); _ = r.Close() })
	return link, rdb
}

// lost says whether there is one instance, which can be taken for lost.
func (f *aFleet) lost() bool {
	f.t.Helper()
	all, now, err := f.store.Instances(f.t.Context())
	f.must(err)
	return len(all) == 1 && all[0].Lost(now)
}

// TestAFleetBeginsAtOnce: instances that join at the same time found one fleet, and none of them takes what the
// others have just reported for later than what it has read itself.
func TestAFleetBeginsAtOnce(t *testing.T) {
	f := newFleet(t)
	// On a server that has just begun each waits for the others to renew, for as long as a lease.
	f.plan.Fleet.Lease, f.plan.Fleet.Renew = 3*time.Second, 2500*time.Millisecond
	for range 10 {
		f.must(f.bare.FlushAll(t.Context()).Err())
		opened := make(chan error)
		const members = 8
		var open [members]*rekey.Rekey
		for i := range members {
			go func() {
				var err error
				open[i], err = rekey.Open(t.Context(), f.plan, rekey.WithFleet(rekey.FleetConfig{Name: "one"}))
				opened <- err
			}()
		}
		for range members {
			if err := <-opened; err != nil {
				t.Error(err)
			}
		}
		for _, r := range open {
			if r != nil {
				f.must(r.Close())
			}
		}
	}
}

// TestAFleetBehindALogin: on a server that wants a login, connections that are opened while a rule is on its way
// are admitted behind it.
func TestAFleetBehindALogin(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Conn()
	for _, words := range [][]string{{"ACL", "SETUSER", "app", "on", ">secret", "allkeys", "allchannels", "+@all"}, {"ACL", "SETUSER", "default", "off"}} {
		if got := admin.Do(words...); got.IsError() {
			t.Fatalf("%q: %s", words, got.Str)
		}
	}
	login := func(o *redis.Options) { o.Username, o.Password = "app", "secret" }
	f := fleetOn(t, server, "redis://app:secret@"+server.Addr(), server.Client(login))
	r, _ := f.member("web-1")
	f.step(phase.Guard)
	f.reached(1)
	for _, protocol := range []int{2, 3} {
		rdb := redis.NewClient(&redis.Options{
			Addr: server.Addr(), Username: "app", Password: "secret", Protocol: protocol, Dialer: r.Dialer(nil), MaxRetries: -1,
		})
		if err := rdb.Set(t.Context(), "s:1", "x", 0).Err(); err != nil {
			t.Errorf("RESP%d: SET on a new connection in guard: %v", protocol, err)
		}
		f.must(rdb.Close())
	}
}

// TestAConnectionIsEnteredLater: one that was opened while the records could not be reached, which it may be
// while nothing moves, is in them as soon as they can be: an audit would take it for a stranger's, and hold the
// next step up for as long as the application keeps it.
func TestAConnectionIsEnteredLater(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	link, rdb := f.cutOff("one", f.plan.Fleet.Lease)
	link.Refuse()
	link.Cut()
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	link.Accept()
	redistest.WaitFor(t, fleetWithin, func() bool {
		all, _, err := f.store.Instances(ctx)
		f.must(err)
		return len(all) == 1 && f.bare.SCard(ctx, f.store.Keys().Conns(all[0].ID)).Val() == 1
	})
}

// TestALostInstanceOpensNoConnection: for all that an instance knows whose lease has run out, the fleet is
// somewhere else by now. What it still has is closed by who goes past it; what it opens then nobody would close.
func TestALostInstanceOpensNoConnection(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	link, rdb := f.cutOff("one", shortLease)
	link.Refuse()
	link.Cut()
	redistest.WaitFor(t, fleetWithin, f.lost)
	f.must(f.bare.Del(ctx, f.store.Keys().Fleet()).Err()) // as a controller does
	f.step(phase.Guard)
	f.step(phase.Dual)
	if err := rdb.Set(ctx, "s:1", "v", 0).Err(); err == nil || !strings.Contains(err.Error(), "rekey: lease lost") {
		t.Errorf("it writes in legacy while the fleet is in dual: %v", err)
	}
	link.Accept()
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Set(ctx, "s:1", "v", 0).Err() == nil })
	if n := f.bare.Exists(ctx, "s:1", "cw:test:s:1").Val(); n != 2 {
		t.Errorf("%d copies in dual", n)
	}
}

// TestAConnectionIsOfTheServersRun: CLIENT IDs begin anew when the server does, and the connection by which an
// instance reaches its records may not have noticed yet. A connection that is entered under the run before
// would be closed by nobody.
func TestAConnectionIsOfTheServersRun(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	_, rdb := f.member("one")
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	f.server.Restart()
	f.must(f.bare.Set(ctx, "s:2", "v", 0).Err())
	redistest.WaitFor(t, fleetWithin, func() bool { return rdb.Set(ctx, "s:1", "v", 0).Err() == nil })
	run, err := fleet.RunID(ctx, f.bare)
	f.must(err)
	redistest.WaitFor(t, fleetWithin, func() bool {
		all, _, err := f.store.Instances(ctx)
		f.must(err)
		id := rdb.ClientID(ctx).Val()
		return len(all) == 1 && f.bare.SIsMember(ctx, f.store.Keys().Conns(all[0].ID), fmt.Sprintf("%s:%d", run, id)).Val()
	})
}

// TestAFullServerTakesNoLease: a server that refuses every write that needs memory refuses no renewal and no new
// connection, or reads would fail as well a lease later.
func TestAFullServerTakesNoLease(t *testing.T) {
	f, ctx := newFleet(t), t.Context()
	r, rdb := f.member("one")
	f.must(rdb.Set(ctx, "s:1", "v", 0).Err())
	f.step(phase.Guard)
	f.reached(1)
	f.step(phase.Dual)
	f.reached(1)
	f.must(f.bare.ConfigSet(ctx, "maxmemory", "1").Err())
	if err := f.bare.Set(ctx, "x", "y", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Fatalf("the server is not full: %v", err)
	}
	var renewed []int64 // when, while the server is full
	redistest.WaitFor(t, fleetWithin, func() bool {
		if v, err := rdb.Get(ctx, "s:1").Result(); err != nil || v != "v" {
			t.Fatalf("GET: %q, %v", v, err)
		}
		all, _, err := f.store.Instances(ctx)
		f.must(err)
		if at := all[0].Renewed; len(renewed) == 0 || at > renewed[len(renewed)-1] {
			renewed = append(renewed, at)
		}
		return len(renewed) > 3
	})
	other := redis.NewClient(&redis.Options{Addr: f.server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	defer func() { f.must(other.Close()) }()
	if v, err := other.Get(ctx, "s:1").Result(); err != nil || v != "v" {
		t.Errorf("on a new connection: %q, %v", v, err)
	}
}
