package rekey_test

import (
	"context"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// shortly is a context for a ReloadFlags that cannot end yet.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// heldAtGuard is a process whose flags choose dual, without a verdict.
func heldAtGuard(t *testing.T, server *redistest.Server, env *environment, lookup func(string) (string, bool)) *rekey.Rekey {
	t.Helper()
	env.set("CW_CACHE_DUAL_WRITE=1", "CW_CACHE_GATED=1")
	r, err := rekey.Open(t.Context(), planOn(t, server), rekey.WithFlags(lookup))
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	env.set("CW_CACHE_PREFIX_ENABLED=1")
	must(t, r.ReloadFlags(t.Context()))
	return r
}

// TestFlagsOfBeforeAreNotObeyedLater: flags that were read in a look for a verdict are not obeyed behind those
// that the operator has set and had read since.
func TestFlagsOfBeforeAreNotObeyedLater(t *testing.T) {
	server := redistest.Shared(t)
	var env environment
	looking := make(chan chan struct{}, 1) // holds what the next look waits for, when it has read the flags
	reads := make(chan struct{})
	r := heldAtGuard(t, server, &env, func(name string) (string, bool) {
		v, ok := env.lookup(name)
		if name == "CW_CACHE_LEGACY_GONE" {
			select {
			case goOn := <-looking:
				close(reads)
				<-goOn
			default:
			}
		}
		return v, ok
	})
	goOn := make(chan struct{})
	looking <- goOn
	<-reads
	runSweep(t, server, planOn(t, server), sweep.Purge, phase.Guard)
	env.set("CW_CACHE_PREFIX_ENABLED=0", "CW_CACHE_DUAL_WRITE=0", "CW_CACHE_GATED=0")
	err := r.ReloadFlags(shortly(t))
	close(goOn)
	redistest.WaitFor(t, fleetWithin, func() bool { return r.Phases()["sessions"] == phase.Dual })
	if err == nil {
		t.Fatal("the flags 00 were obeyed, and then those of before: the process is in dual")
	}
	must(t, r.ReloadFlags(t.Context()))
	if got := r.Phases()["sessions"]; got != phase.Legacy {
		t.Errorf("phase %s, want legacy", got)
	}
}

// TestHeldBehindAnotherStep: a rule that is held back while the step before it is being recorded follows when its
// verdict is there.
func TestHeldBehindAnotherStep(t *testing.T) {
	server := redistest.Shared(t)
	p := planOn(t, server)
	var env environment
	r := heldAtGuard(t, server, &env, env.lookup)
	conn, err := r.Dialer(nil)(t.Context(), "tcp", server.Addr())
	must(t, err)
	client := redistest.NewConn(t, conn)
	client.Do("MULTI")
	runSweep(t, server, p, sweep.Purge, phase.Guard)
	redistest.WaitFor(t, fleetWithin, func() bool { return r.Phases()["sessions"] == phase.Dual })
	env.set("CW_CACHE_LEGACY_READ=0")
	err = r.ReloadFlags(shortly(t))
	client.Do("EXEC")
	if err != nil { // it could not be told before
		must(t, r.ReloadFlags(t.Context()))
	}
	entered := func() bool {
		return server.Client().HExists(t.Context(), p.ControlPrefix()+"flags:sessions", "dual").Val()
	}
	redistest.WaitFor(t, fleetWithin, entered)
	runSweep(t, server, p, sweep.Backfill, phase.Dual)
	reached(t, r, map[string]phase.Phase{"sessions": phase.Settled})
}

// TestEveryPhaseIsRecorded: what did not come to be recorded, because a command of the phase before was under way
// for too long or the records could not be written, is recorded the next time. An old verdict would be taken
// for a proof else.
func TestEveryPhaseIsRecorded(t *testing.T) {
	server := redistest.Shared(t)
	p, bare := planOn(t, server), server.Client()
	key := p.ControlPrefix() + "flags:sessions"
	var env environment
	env.set("CW_CACHE_DUAL_WRITE=1")
	must(t, bare.Set(t.Context(), key, "in the way", 0).Err())
	r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	must(t, bare.Del(t.Context(), key).Err())
	must(t, r.ReloadFlags(t.Context()))
	if !bare.HExists(t.Context(), key, "guard").Val() {
		t.Error("guard could not be recorded, and was not the next time either")
	}
	conn, err := r.Dialer(nil)(t.Context(), "tcp", server.Addr())
	must(t, err)
	client := redistest.NewConn(t, conn)
	overdue(t, r, client, &env, "CW_CACHE_PREFIX_ENABLED=1", phase.Dual)
	client.Do("EXEC")
	must(t, r.ReloadFlags(t.Context()))
	if !bare.HExists(t.Context(), key, "dual").Val() {
		t.Error("dual is in force and not recorded")
	}
	// A phase that was left and entered again was entered.
	before := bare.HGet(t.Context(), key, "dual").Val()
	overdue(t, r, client, &env, "CW_CACHE_LEGACY_READ=0", phase.Settled)
	client.Do("EXEC")
	env.set("CW_CACHE_LEGACY_READ=1")
	must(t, r.ReloadFlags(t.Context()))
	if after := bare.HGet(t.Context(), key, "dual").Val(); after == before {
		t.Errorf("dual was entered again, and is recorded as of %s", after)
	}
}

// overdue takes the instance to a phase by a flag while a transaction of the phase before is open on a connection: the phase is in
// force, and the commands of before are not over when the time for them is.
func overdue(t *testing.T, r *rekey.Rekey, client *redistest.Conn, env *environment, flag string, want phase.Phase) {
	t.Helper()
	client.Do("MULTI")
	env.set(flag)
	if err := r.ReloadFlags(shortly(t)); err == nil || r.Phases()["sessions"] != want {
		t.Fatalf("error %v in %s, want one in %s", err, r.Phases()["sessions"], want)
	}
}

// TestUnrecordedPhaseProvesNothing: a verdict from before the process had come to its phase proves no step out of it,
// also where the record of the coming is still to be made, or cannot be.
func TestUnrecordedPhaseProvesNothing(t *testing.T) {
	server := redistest.Shared(t)
	p, bare := planOn(t, server), server.Client()
	key := p.ControlPrefix() + "flags:sessions"
	for _, inTheWay := range []bool{false, true} {
		must(t, bare.FlushAll(t.Context()).Err())
		var env environment
		env.set("CW_CACHE_DUAL_WRITE=1")
		r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
		must(t, err)
		conn, err := r.Dialer(nil)(t.Context(), "tcp", server.Addr())
		must(t, err)
		client := redistest.NewConn(t, conn)
		overdue(t, r, client, &env, "CW_CACHE_PREFIX_ENABLED=1", phase.Dual)
		runSweep(t, server, p, sweep.Backfill, phase.Dual)
		client.Do("EXEC")
		if inTheWay {
			must(t, bare.Del(t.Context(), key).Err())
			must(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-hset").Err())
		}
		env.set("CW_CACHE_LEGACY_READ=0", "CW_CACHE_GATED=1")
		must(t, r.ReloadFlags(t.Context()))
		if got := r.Phases()["sessions"]; got != phase.Dual {
			t.Errorf("cannot be recorded %v: phase %s by a verdict of before, want dual", inTheWay, got)
		}
		must(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "+hset").Err())
		must(t, r.Close())
	}
}
