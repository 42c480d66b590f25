package sweep_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// disturb makes a backfill with something that goes wrong after a few pages, and is mended when the sweep says that it waits.
func disturb(t *testing.T, client *redis.Client, harm, mend func(), reason string) sweep.Result {
	t.Helper()
	harmed, mended := false, false
	pages := 0
	r := run(t, sweep.Options{
		Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50,
		Patience: time.Minute,
		OnProgress: func(p sweep.Progress) {
			switch pages++; {
			case pages == 10:
				harmed = true
				harm()
			case harmed && !mended && strings.HasPrefix(p.Reason, "waits for the server: "+reason):
				mended = true
				mend()
			}
		},
	})
	mustHold(t, r, phase.Copied)
	if !mended {
		t.Errorf("the sweep never said that it waits: %s", reason)
	}
	return r
}

// TestBusyServerIsWaitedFor, and the sweep goes on from where it was.
func TestBusyServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("lua-time-limit 10"))
	client := server.Client()
	seedKeys(t, client, "thing:", 2000)
	r := disturb(t, client, func() {
		server.Conn().Send("EVAL", "while true do end", "0")
		redistest.WaitFor(t, 10*time.Second, func() bool { return strings.HasPrefix(fmt.Sprint(client.Ping(t.Context()).Err()), "BUSY") })
	}, func() { do(t, client, "SCRIPT", "KILL") }, "BUSY")
	if r.Verdict.Resumed != 1 || r.Changed != 2000 {
		t.Errorf("got resumed %d, %d copied, want once and 2000", r.Verdict.Resumed, r.Changed)
	}
}

// TestRestartedServerIsWaitedFor: its cursors are void, so the sweep begins anew and says so.
func TestRestartedServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	client := server.Client()
	seedKeys(t, client, "thing:", 2000)
	r := disturb(t, client, server.Kill, server.Restart, "no answer")
	if r.Verdict.Resumed != 0 || !noted(r, "begins anew: the server was restarted") || r.Matched < 2000 {
		t.Errorf("got resumed %d, %d keys, notes %q", r.Verdict.Resumed, r.Matched, r.Notes)
	}
}

// TestUserThatIsRemoved: the connections are closed, and what the server says to the next one is what the operator has to know.
func TestUserThatIsRemoved(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	seedKeys(t, admin, "thing:", 2000)
	do(t, admin, "ACL", "SETUSER", "operator", "on", ">x", "~*", "&*", "+@all")
	pages := 0
	_, err := sweep.Run(t.Context(), sweep.Options{
		Client: server.Client(func(o *redis.Options) { o.Username, o.Password = "operator", "x" }),
		Plan:   parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Patience: time.Minute,
		OnProgress: func(sweep.Progress) {
			if pages++; pages == 10 {
				do(t, admin, "ACL", "DELUSER", "operator")
			}
		},
	})
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || !strings.HasSuffix(err.Error(), "correct the user and the password in the server's URL") {
		t.Errorf("got %v", err)
	}
}

// TestBrokenConnectionIsClosedOnTheServer: what it had under way cannot outlive the sweep that goes on.
func TestBrokenConnectionIsClosedOnTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	seedKeys(t, client, "thing:", 2000)
	watcher := server.Client(func(o *redis.Options) { o.ClientName = "watcher" })
	var before []int64
	r := disturb(t, client, func() {
		for _, id := range rawRecord(t, watcher)["conns"].([]any) {
			before = append(before, int64(id.(float64)))
		}
		// While the server sleeps the sweep sends a page, which is not answered any more.
		hand := server.Conn()
		hand.Send("DEBUG", "SLEEP", "0.3")
		hand.Send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}, func() {}, "no answer")
	if r.Verdict.Resumed != 1 || len(before) == 0 {
		t.Errorf("got resumed %d, %d connections", r.Verdict.Resumed, len(before))
	}
	list := do(t, watcher, "CLIENT", "LIST").(string)
	for _, id := range before {
		if strings.Contains("\n"+list, fmt.Sprintf("\nid=%d ", id)) {
			t.Errorf("connection %d is still open", id)
		}
	}
}

// TestFullServerIsWaitedFor: purge is what frees a full server, without a record. A cut connection does not end it, and it is not
// taken for one whose record somebody removed.
func TestFullServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	const keys, page = 2000, 20
	for _, c := range []struct {
		name   string
		limits [3]string // maxmemory at the beginning, from page 3 on, and from page 20 on, when connections are cut too
		holds  bool
	}{
		{"full throughout", [3]string{"1mb", "1mb", "1mb"}, false},
		{"full since the first cut", [3]string{"0", "1mb", "1mb"}, false},
		{"full until the first cut", [3]string{"1mb", "0", "0"}, true},
		{"full until the second cut", [3]string{"1mb", "1mb", "0"}, true},
		{"full between", [3]string{"0", "1mb", "0"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := redistest.Start(t, redistest.WithConfig("maxmemory-policy noeviction")).Client()
			seedKeys(t, client, target("thing:"), keys)
			do(t, client, "SET", "somebody", strings.Repeat("x", 2<<20))
			do(t, client, "CONFIG", "SET", "maxmemory", c.limits[0])
			pages := 0
			r := run(t, sweep.Options{
				Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Purge, Phase: phase.Guard, Execute: true, Page: page,
				Patience: time.Minute,
				OnProgress: func(p sweep.Progress) {
					if strings.HasPrefix(p.Reason, "waits for the server") {
						return
					}
					if pages++; pages == 3 || pages == 20 {
						do(t, client, "CONFIG", "SET", "maxmemory", c.limits[1+pages/20])
						do(t, client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
					}
				},
			})
			if c.holds {
				mustHold(t, r, phase.NoTarget)
			} else if mustNotHold(t, r, phase.NoTarget, "the server was full"); r.Stored || r.Changed < keys-4*page {
				t.Errorf("stored %v, %d of %d removed: at most two pages at each cut may have lost their answers", r.Stored, r.Changed, keys)
			}
			if left := len(client.Keys(t.Context(), target("thing:*")).Val()); left > 0 {
				t.Errorf("%d targets are left", left)
			}
		})
	}
}

// TestRestartWithoutTheRecord: where the server keeps no data, nobody has taken the sweep over, and it says so.
func TestRestartWithoutTheRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	seedKeys(t, client, "thing:", 2000)
	pages, restarted := 0, false
	_, err := sweep.Run(t.Context(), sweep.Options{
		Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Patience: time.Minute,
		OnProgress: func(p sweep.Progress) {
			switch pages++; {
			case pages == 10:
				server.Kill()
			case !restarted && strings.HasPrefix(p.Reason, "waits for the server"):
				restarted = true
				server.Restart()
			}
		},
	})
	if !restarted || err == nil || !strings.Contains(err.Error(), "the server was restarted, or is another one, and has not kept the sweep's record") {
		t.Errorf("got %v", err)
	}
}

// TestRightLostInTheMiddle ends the sweep with what to do, and it goes on when the right is back.
func TestRightLostInTheMiddle(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	seedKeys(t, admin, "thing:", 2000)
	do(t, admin, "ACL", "SETUSER", "sweeper", "reset", "on", ">pw", "~*", "+@all")
	t.Cleanup(func() { do(t, admin, "ACL", "DELUSER", "sweeper") })
	o := sweep.Options{
		Client: server.Client(func(o *redis.Options) { o.Username, o.Password = "sweeper", "pw" }), Plan: parse(t, testPlan),
		Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Patience: time.Minute,
	}
	pages := 0
	o.OnProgress = func(sweep.Progress) {
		if pages++; pages == 10 {
			do(t, admin, "ACL", "SETUSER", "sweeper", "-copy")
		}
	}
	first := refused(t, o, "COPY", "NOPERM", "rekey plan --acl")
	do(t, admin, "ACL", "SETUSER", "sweeper", "+copy")
	o.OnProgress = nil
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	if r.Verdict.Resumed != 1 || first.Changed == 0 || r.Changed != 2000 {
		t.Errorf("got resumed %d, %d copied of 2000, %d of them before", r.Verdict.Resumed, r.Changed, first.Changed)
	}
}

// TestFailoverInTheMiddle: on the replica that was promoted the sweep begins anew, whatever it had done on the old primary.
func TestFailoverInTheMiddle(t *testing.T) {
	primary := redistest.Start(t)
	replica := primary.Replica()
	client := primary.Client()
	seedKeys(t, client, "thing:", 2000)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 50, Mark: "epoch/1/1"}
	interrupt(t, o, 10)
	redistest.WaitFor(t, 20*time.Second, func() bool {
		return replica.Client().Exists(t.Context(), recordKey).Val() == 1
	})
	primary.Kill()
	o.Client = replica.Client()
	do(t, o.Client, "REPLICAOF", "NO", "ONE")
	r := run(t, o)
	mustHold(t, r, phase.Copied)
	if r.Verdict.Resumed != 0 || !noted(r, "begins anew") || r.Matched < 2000 {
		t.Errorf("got resumed %d, %d keys, notes %q", r.Verdict.Resumed, r.Matched, r.Notes)
	}
}

// TestSentinelsFailoverIsWaitedFor: the sweep goes to the primary that the sentinels name then, and begins anew there.
func TestSentinelsFailoverIsWaitedFor(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := primary.Replica()
	seedKeys(t, primary.Client(), "thing:", 2000)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "group", SentinelAddrs: []string{primary.Sentinel("group")}})
	t.Cleanup(func() { _ = client.Close() }) // it was read from
	on := replica.Client()
	r := disturb(t, client, func() {
		redistest.WaitFor(t, 20*time.Second, func() bool { return on.DBSize(t.Context()).Val() > 2000 }) // some copies, and the record
		primary.Kill()
	}, func() {}, "no answer")
	if r.Verdict.Resumed != 0 || !noted(r, "begins anew") || r.Matched < 2000 {
		t.Errorf("got resumed %d, %d keys, notes %q", r.Verdict.Resumed, r.Matched, r.Notes)
	}
	mustHold(t, run(t, sweep.Options{Client: on, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual}), phase.Verified)
}

// TestSmallAndOddKeyspaces: nothing, one key, and a name of 500 bytes with newlines.
func TestSmallAndOddKeyspaces(t *testing.T) {
	client := redistest.Shared(t).Client()
	long := strings.Repeat("a\nb\r\n{*}", 61) + "end\n"
	for _, ids := range [][]string{nil, {"one"}, {long}} {
		do(t, client, "FLUSHALL")
		for _, id := range ids {
			do(t, client, "SET", "thing:"+id, "v")
		}
		o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Execute: true, Throttled: true}
		for _, job := range []struct {
			kind    sweep.Kind
			phase   phase.Phase
			gate    phase.Gate
			changes bool
		}{
			{sweep.Purge, phase.Guard, phase.NoTarget, false}, {sweep.Backfill, phase.Dual, phase.Copied, true},
			{sweep.Verify, phase.Dual, phase.Verified, false}, {sweep.Reverse, phase.Dual, phase.Reversed, true},
			{sweep.Cleanup, phase.Sealed, phase.NoLegacy, true},
		} {
			o.Kind, o.Phase, o.Repair = job.kind, job.phase, false
			r := run(t, o)
			mustHold(t, r, job.gate)
			if want := int64(len(ids)); job.changes && r.Changed != want {
				t.Errorf("%v of %d keys changed %d", job.kind, want, r.Changed)
			}
		}
		for _, id := range ids {
			if client.Get(t.Context(), target("thing:"+id)).Val() != "v" || client.Exists(t.Context(), "thing:"+id).Val() != 0 {
				t.Errorf("the key %.20q is not where it should be", id)
			}
		}
	}
}

// TestLoadingServerIsWaitedFor: a server that was restarted answers LOADING for as long as it reads its data, which here would
// be 20 seconds if the sweep never saw it.
func TestLoadingServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	const delay = "key-load-delay" // µs a key
	server := redistest.Start(t, redistest.WithConfig(delay+" 5000", "loading-process-events-interval-bytes 1024"))
	client := server.Client()
	seedKeys(t, client, "thing:", 2000)
	restarted := make(chan struct{})
	r := disturb(t, client, func() {
		do(t, client, "SAVE") // with the sweep's record
		server.Kill()
		go func() { // it returns when all is loaded
			defer close(restarted)
			server.Restart()
		}()
	}, func() { do(t, client, "CONFIG", "SET", delay, 0) }, "LOADING")
	<-restarted
	if r.Verdict.Resumed != 0 || !noted(r, "begins anew: the server was restarted") || r.Matched < 2000 {
		t.Errorf("got resumed %d, %d keys, notes %q", r.Verdict.Resumed, r.Matched, r.Notes)
	}
}
