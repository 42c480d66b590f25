package chaostest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestRecordsUnderEviction: a server that drops keys for want of memory keeps the fleet's records where it drops
// only keys that expire, for they do not. Where it drops any key, they can go as well: then nobody follows what is
// not there, the rule on its way stands still, and it goes on when its record is restored.
func TestRecordsUnderEviction(t *testing.T) {
	for _, policy := range []string{"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			f := newFull(t, policy)
			f.fill()
			targets, err := f.store.Targets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if kept := targets["mirror"].Phase == phase.Dual; !kept && strings.HasPrefix(policy, "volatile") {
				t.Fatalf("the records are %v", targets)
			}
			if strings.HasPrefix(policy, "volatile") {
				redistest.WaitFor(t, time.Minute, f.answers)
				return
			}
			// The eviction is a removal, which is what it is to everybody else.
			if err := f.bare.Del(t.Context(), f.store.Keys().Phase()).Err(); err != nil {
				t.Fatal(err)
			}
			redistest.WaitFor(t, time.Minute, func() bool {
				err := f.app.Get(t.Context(), sceneKey).Err()
				return err != nil && strings.Contains(err.Error(), "rekey: lease lost")
			})
			if p := f.instance.Phases()["mirror"]; p != phase.Dual {
				t.Errorf("without a record the instance is in %s, want dual", p)
			}
			f.restore()
		})
	}
}

// full is a small server, and a fleet of one instance in dual.
type full struct {
	t        *testing.T
	policy   string
	w        *world
	store    *fleet.Store
	bare     *redis.Client
	instance *rekey.Rekey
	app      *redis.Client
}

func newFull(t *testing.T, policy string) *full {
	t.Helper()
	w := newWorld(t, 0, 0)
	f := &full{t: t, policy: policy, w: w, bare: w.server.Client(func(o *redis.Options) { o.ClientName = fleet.ClientName })}
	f.store = fleet.NewStore(w.plan, f.bare)
	var err error
	if f.instance, err = rekey.Open(t.Context(), w.plan, rekey.WithFleet(rekey.FleetConfig{Name: "web"})); err != nil {
		t.Fatal(err)
	}
	f.app = redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: f.instance.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() { _ = f.app.Close(); _ = f.instance.Close() }) // the test has looked at what counts
	err = f.control(func(c *control.Controller) error { return c.Run(t.Context(), []string{"mirror"}, phase.Dual) })
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"maxmemory": "4mb", "maxmemory-policy": policy} {
		if err := f.bare.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *full) control(do func(*control.Controller) error) error {
	f.t.Helper()
	o := controlOptions()
	o.Patience = time.Minute
	c, err := control.Open(f.t.Context(), f.w.plan, o)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// fill writes until the server has dropped what it had several times over.
func (f *full) fill() {
	f.t.Helper()
	value := strings.Repeat("x", 10_000)
	for i := range 2000 {
		if err := f.bare.Set(f.t.Context(), fmt.Sprintf("filler:%d", i), value, time.Hour).Err(); err != nil {
			f.t.Fatal(err)
		}
	}
	stats, err := f.bare.InfoMap(f.t.Context(), "stats").Result()
	if err != nil || stats["Stats"]["evicted_keys"] == "0" {
		f.t.Fatalf("%s keys were dropped, want some (%v)", stats["Stats"]["evicted_keys"], err)
	}
}

// restore writes the record anew, as rekey restore-phase does, until commands are answered: what is written, and the
// lock that it is written under, can be dropped again.
func (f *full) restore() {
	f.t.Helper()
	var refused error
	var tried time.Time
	f.t.Cleanup(func() {
		if f.t.Failed() {
			f.t.Logf("the phase was last restored with %v", refused)
		}
	})
	redistest.WaitFor(f.t, time.Minute, func() bool {
		if time.Since(tried) > lease {
			refused = f.control(func(c *control.Controller) error { return c.RestorePhase(f.t.Context(), "mirror", phase.Dual) })
			tried = time.Now()
		}
		return f.answers()
	})
}

// answers says whether a command is answered.
func (f *full) answers() bool { return f.app.Set(f.t.Context(), sceneKey, "v", time.Hour).Err() == nil }
