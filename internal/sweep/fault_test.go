package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// refused makes a sweep that must end with an error of the server.
func refused(t *testing.T, o sweep.Options, command, code, hint string) sweep.Result {
	t.Helper()
	r, err := sweep.Run(t.Context(), o)
	var got *sweep.ServerError
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a server's error", err)
	}
	if got.Command != command || got.Code != code || !strings.Contains(err.Error(), hint) || !strings.HasPrefix(err.Error(), "rekey: ") {
		t.Errorf("got %v (%s, %s), want %s, %s and %q", err, got.Command, got.Code, command, code, hint)
	}
	if r.Stored {
		t.Error("a verdict was stored")
	}
	return r
}

func TestUserWithoutARight(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	for _, c := range []struct {
		kind    sweep.Kind
		rule    string
		phase   phase.Phase
		without string
		command string
	}{
		{sweep.Backfill, "things", phase.Dual, "copy", "COPY"}, {sweep.Reverse, "things", phase.Dual, "copy", "COPY"}, {sweep.Purge, "things", phase.Guard, "unlink", "UNLINK"},
		{sweep.Cleanup, "things", phase.Sealed, "unlink", "UNLINK"}, {sweep.Relocate, "limits", phase.Move, "renamenx", "RENAMENX"}, {sweep.Verify, "things", phase.Dual, "dump", "DUMP"},
		{sweep.Verify, "things", phase.Dual, "memory|usage", "MEMORY USAGE"}, {sweep.Verify, "things", phase.Dual, "scan", "SCAN"},
		{sweep.Verify, "things", phase.Dual, "getrange", "GETRANGE"},
	} {
		t.Run(c.kind.String()+" without "+c.without, func(t *testing.T) {
			do(t, client, "FLUSHALL")
			for _, name := range []string{"thing:1", target("thing:1"), "limit:1"} {
				do(t, client, "RPUSH", name, "v")
			}
			do(t, client, "ACL", "SETUSER", "sweeper", "reset", "on", ">pw", "~*", "+@all", "-"+c.without)
			defer do(t, client, "ACL", "DELUSER", "sweeper")
			sweeper := server.Client(func(o *redis.Options) { o.Username, o.Password = "sweeper", "pw" })
			refused(t, sweep.Options{Client: sweeper, Plan: parse(t, testPlan), Rule: c.rule, Kind: c.kind, Phase: c.phase, Execute: true},
				c.command, "NOPERM", "rekey plan --acl")
		})
	}
}

func TestFullServer(t *testing.T) {
	client := redistest.Shared(t, redistest.WithConfig("maxmemory-policy noeviction")).Client()
	for i := range 2000 {
		do(t, client, "SET", fmt.Sprintf("thing:%d", i), strings.Repeat("x", 1000))
	}
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 20}
	stop := false
	o.OnProgress = func(sweep.Progress) {
		if !stop {
			stop = true
			do(t, client, "CONFIG", "SET", "maxmemory", "1mb")
		}
	}
	r := refused(t, o, "COPY", "OOM", "raise maxmemory")
	if r.Changed == 0 {
		t.Error("the result does not say what was done before")
	}

	// Purge is what frees a full server. It works, and says why it left no verdict.
	o.Kind, o.Phase, o.Execute = sweep.Purge, phase.Guard, true
	p := run(t, o)
	if p.Changed != r.Changed || p.Stored {
		t.Errorf("got %d removed and stored %v, want %d and no verdict", p.Changed, p.Stored, r.Changed)
	}
	mustNotHold(t, p, phase.NoTarget, "full")
	do(t, client, "CONFIG", "SET", "maxmemory", "0")
	mustHold(t, run(t, o), phase.NoTarget)
}

// TestFullServerWhileTheConnectionForPagesIsMade: one that could not be noted in the sweep's record carries no page, for whoever
// takes over would not close it.
func TestFullServerWhileTheConnectionForPagesIsMade(t *testing.T) {
	server := redistest.Shared(t, redistest.WithConfig("maxmemory-policy noeviction"))
	bare := server.Client()
	do(t, bare, "SET", "thing:1", strings.Repeat("x", 2<<20))
	paged := false
	client := interrupted(server, func(sent []byte) {
		paged = paged || sends(sent, "COPY")
		if sends(sent, "scan") {
			do(t, bare, "CONFIG", "SET", "maxmemory", "1mb")
		}
	})
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Overcommit: true, BigKeys: sweep.BigNow}
	refused(t, o, "PING", "OOM", "raise maxmemory")
	if paged {
		t.Error("it carried a page")
	}
}

// TestUserWithoutPING: nothing but the throttle needs an answer to it.
func TestUserWithoutPING(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	do(t, admin, "SET", "thing:1", "v")
	do(t, admin, "ACL", "SETUSER", "sweeper", "reset", "on", ">pw", "~*", "+@all", "-ping")
	defer do(t, admin, "ACL", "DELUSER", "sweeper")
	sweeper := server.Client(func(o *redis.Options) { o.Username, o.Password = "sweeper", "pw" })
	mustHold(t, run(t, sweep.Options{Client: sweeper, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}), phase.Copied)
}

func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	p := parse(t, testPlan)
	t.Run("replica", func(t *testing.T) {
		replica := redistest.Start(t).Replica()
		refused(t, sweep.Options{Client: replica.Client(), Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}, "SET", "READONLY", "name its primary")
	})
	t.Run("busy", func(t *testing.T) {
		server := redistest.Start(t, redistest.WithConfig("lua-time-limit 10"))
		defer server.Kill() // it would not hear that it should end
		busy := server.Conn()
		busy.Send("EVAL", "while true do end", "0")
		client := server.Client()
		redistest.WaitFor(t, 10*time.Second, func() bool { return strings.HasPrefix(fmt.Sprint(client.Ping(t.Context()).Err()), "BUSY") })
		refused(t, sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}, "INFO", "BUSY", "SCRIPT KILL")
	})
	t.Run("nobody there", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
		defer client.Close()
		refused(t, sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}, "INFO", "", "see that the server runs")
	})
	t.Run("wrong password", func(t *testing.T) {
		client := redistest.Shared(t).Client(func(o *redis.Options) { o.Username, o.Password = "nobody", "secret" })
		r := sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual}
		refused(t, r, "INFO", "WRONGPASS", "correct the user")
	})
	t.Run("killed in the middle", func(t *testing.T) {
		server := redistest.Start(t)
		client := server.Client()
		for i := range 500 {
			do(t, client, "SET", fmt.Sprintf("thing:%d", i), "v")
		}
		o := sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 10}
		killed := false
		o.OnProgress = func(sweep.Progress) {
			if !killed {
				killed = true
				server.Kill()
			}
		}
		r, err := sweep.Run(t.Context(), o)
		var got *sweep.ServerError
		if !errors.As(err, &got) || got.Code != "" || r.Changed == 0 {
			t.Errorf("got %v after %d copies, want no answer", err, r.Changed)
		}
	})
}

// TestCancelOnAServerThatHangs: the sweep does not wait for the answer for ever.
func TestCancelOnAServerThatHangs(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	do(t, client, "SET", "thing:1", "v")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server.Pause()
	defer server.Continue()
	result := make(chan error, 1)
	go func() {
		_, err := sweep.Run(ctx, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual})
		result <- err
	}()
	cancel()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the sweep still waits")
	}
}

// TestCancelOnAServerThatHangsInTheMiddle: wherever the sweep is just then, it does not wait for an answer that never comes.
func TestCancelOnAServerThatHangsInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// hangs says that the server is to hang, before a send or at a page.
		hangs     func(sent []byte, page int) bool
		throttled bool
		kill      bool // connections are cut at page 2, and the server is asked whether it is ready
	}{
		{"at a page", func(_ []byte, page int) bool { return page == 3 }, false, false},
		{"at a page of a throttled sweep", func(_ []byte, page int) bool { return page == 3 }, true, false},
		{"while the idle server is measured", func(sent []byte, page int) bool { return page == 0 && sends(sent, "ping") }, true, false},
		{"while the connection for pages is made", func(sent []byte, page int) bool { return page == 0 && sends(sent, "ping") }, false, false},
		{"while it is waited for", func(sent []byte, page int) bool { return page >= 2 && sends(sent, "exists") }, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t)
			bare := server.Client()
			seedKeys(t, bare, "thing:", 2000)
			defer server.Continue()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var pages atomic.Int64
			var once sync.Once
			look := func(sent []byte) {
				if c.hangs(sent, int(pages.Load())) {
					once.Do(func() { server.Pause(); cancel() })
				}
			}
			o := sweep.Options{
				Client: interrupted(server, look), Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 20,
				Throttled: c.throttled, Patience: time.Minute,
			}
			o.OnProgress = func(sweep.Progress) {
				if pages.Add(1); c.kill && pages.Load() == 2 {
					do(t, bare, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				}
				look(nil)
			}
			result := make(chan error, 1)
			go func() {
				_, err := sweep.Run(ctx, o)
				result <- err
			}()
			select {
			case err := <-result:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the sweep still waits")
				server.Continue()
				<-result
			}
		})
	}
}

// counted is a connection that says when it was closed.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestRefusedProbeLeavesNoConnection open: the process may go on after the sweep.
func TestRefusedProbeLeavesNoConnection(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	seedKeys(t, admin, "thing:", 2000)
	do(t, admin, "ACL", "SETUSER", "sweeper", "reset", "on", ">pw", "~*", "+@all", "-ping")
	defer do(t, admin, "ACL", "DELUSER", "sweeper")
	var open atomic.Int64
	sweeper := server.Client(func(o *redis.Options) {
		o.Username, o.Password = "sweeper", "pw"
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			open.Add(1)
			return &counted{conn, sync.OnceFunc(func() { open.Add(-1) })}, err
		}
	})
	o := sweep.Options{Client: sweeper, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: 20, Throttled: true}
	refused(t, o, "PING", "NOPERM", "rekey plan --acl")
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are open after the sweep", n)
	}
}

// TestManyKeysInLittleMemory: what a sweep holds does not grow with the keyspace. What it holds early is compared with the
// most that it holds later: the two names of a key that is kept take more than 100 bytes, and half of that fails here.
func TestManyKeysInLittleMemory(t *testing.T) {
	const batch, allowed = 4_000, 50 // a batch is short enough for the client's timeout on a busy machine
	keys := 16_000
	if text := os.Getenv("REKEY_SWEEP_KEYS"); text != "" {
		var err error
		if keys, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	client := redistest.Shared(t).Client()
	script := `for i = ARGV[1] + 1, ARGV[1] + ARGV[2] do redis.call('SET', 'thing:' .. i, 'value of ' .. i) end return 1`
	for from := 0; from < keys; from += batch {
		if err := client.Eval(t.Context(), script, nil, from, min(batch, keys-from)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	every := max(1, keys/sweep.DefaultPage/10)
	for _, job := range []struct {
		kind  sweep.Kind
		phase phase.Phase
		gate  phase.Gate
	}{{sweep.Backfill, phase.Dual, phase.Copied}, {sweep.Verify, phase.Dual, phase.Verified}, {sweep.Cleanup, phase.Sealed, phase.NoLegacy}} {
		var held []int64 // after each tenth of the keys
		pages := 0
		o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: job.kind, Phase: job.phase, Execute: true}
		o.OnProgress = func(sweep.Progress) {
			if pages++; pages%every == 0 {
				var now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&now)
				held = append(held, int64(now.HeapAlloc))
			}
		}
		begun := time.Now()
		r := run(t, o)
		mustHold(t, r, job.gate)
		if r.Matched < int64(keys) || len(held) < 9 {
			t.Fatalf("%v: got %d keys and looked %d times at the memory", job.kind, r.Matched, len(held))
		}
		grown := slices.Max(held[1:]) - held[0]
		t.Logf("%v: %.0f keys/s, %d bytes more than at the beginning", job.kind, float64(r.Matched)/time.Since(begun).Seconds(), grown)
		if grown > int64(keys)*allowed {
			t.Errorf("%v held %d bytes more after %d keys than after a tenth of them", job.kind, grown, keys)
		}
	}
}

// TestEmbeddedServer: the demo's server has no INFO on itself and dumps only strings.
func TestEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	for _, kind := range []string{"string", "list", "set", "hash", "zset", "expiring"} {
		write(t, client, kind, "thing:"+kind)
	}
	p := parse(t, testPlan)
	for _, job := range []struct {
		kind  sweep.Kind
		phase phase.Phase
		gate  phase.Gate
	}{
		{sweep.Purge, phase.Guard, phase.NoTarget}, {sweep.Backfill, phase.Dual, phase.Copied}, {sweep.Verify, phase.Dual, phase.Verified},
		{sweep.Reverse, phase.Dual, phase.Reversed}, {sweep.Cleanup, phase.Sealed, phase.NoLegacy},
	} {
		mustHold(t, run(t, sweep.Options{Client: client, Plan: p, Rule: "things", Kind: job.kind, Phase: job.phase, Execute: true}), job.gate)
	}
	if got := client.Exists(t.Context(), target("thing:zset"), "thing:zset").Val(); got != 1 {
		t.Errorf("got %d of the two names, want the target alone", got)
	}
}

// TestServerWithoutCOPY: a command that is renamed away, or that some other server never had, is no fault of the keys. Their owner
// must not be told to remove them.
func TestServerWithoutCOPY(t *testing.T) {
	client := redistest.Start(t, redistest.WithConfig(`rename-command COPY ""`)).Client()
	for _, name := range []string{"thing:1", target("thing:2")} {
		do(t, client, "SET", name, "v")
	}
	for _, kind := range []sweep.Kind{sweep.Backfill, sweep.Reverse} {
		r := refused(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: kind, Phase: phase.Dual}, "COPY", "ERR", "has this command")
		if n := r.Problems[sweep.Uncopyable]; n != 0 {
			t.Errorf("%v: %d keys are said to be of a type that cannot be copied", kind, n)
		}
	}
}
