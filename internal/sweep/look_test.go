package sweep_test

import (
	"bytes"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// between is a connection that lets a test act before the sweep sends something.
type between struct {
	net.Conn
	before func(sent []byte)
}

func (c *between) Write(p []byte) (int, error) {
	c.before(p)
	return c.Conn.Write(p)
}

// interrupted is a client before whose every send the function is called, once at a time: a sweep renews its lease on one
// connection while it sends a page on another.
func interrupted(server *redistest.Server, before func(sent []byte)) *redis.Client {
	var mu sync.Mutex
	alone := func(sent []byte) {
		mu.Lock()
		defer mu.Unlock()
		before(sent)
	}
	return server.Client(func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &between{conn, alone}, err
		}
	})
}

func sends(sent []byte, word string) bool { return bytes.Contains(sent, []byte("\r\n"+word+"\r\n")) }

// TestVerifyLooksAgain: what the first look sees in the middle of a write, and what the second look sees before its snapshot
// is confirmed, is no difference.
func TestVerifyLooksAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		kind string
		when string // the command before which the two names are made equal
	}{
		{"between the looks", "string", "WATCH"},
		{"before the snapshot is confirmed", "string", "EXEC"},
		{"before the snapshot of a stream is confirmed", "stream", "EXEC"},
		{"before the snapshot of a hashtable is confirmed", "hashtable", "EXEC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Shared(t)
			bare := server.Client()
			write(t, bare, c.kind, "thing:1")
			do(t, bare, "COPY", "thing:1", target("thing:1"))
			change := map[string][]any{"string": {"APPEND", "thing:1", "x"}, "stream": {"XADD", "thing:1", "9-9", "f", "v"}, "hashtable": {"SADD", "thing:1", "more"}}[c.kind]
			do(t, bare, change...)
			armed, fired := false, false
			client := interrupted(server, func(sent []byte) {
				armed = armed || sends(sent, "DUMP") // the verdict's own transactions come before
				if armed && !fired && sends(sent, c.when) {
					fired = true
					do(t, bare, "COPY", "thing:1", target("thing:1"), "REPLACE")
				}
			})
			r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual})
			if !fired {
				t.Fatalf("the sweep never sent %s", c.when)
			}
			if r.Found() != 0 {
				t.Errorf("got %v: %+v", r.Problems, r.Examples)
			}
		})
	}
}

// TestVerifyOfAStreamThatGoes: the server's errors about a key or a group that is gone by then end no sweep.
func TestVerifyOfAStreamThatGoes(t *testing.T) {
	for _, c := range []struct {
		before string
		gone   []any
	}{
		{"STREAM", []any{"DEL", "thing:1", target("thing:1")}},
		{"GROUPS", []any{"DEL", "thing:1", target("thing:1")}},
		{"CONSUMERS", []any{"EVAL", "for _, k in ipairs(KEYS) do redis.call('XGROUP', 'DESTROY', k, 'g') end", 2, "thing:1", target("thing:1")}},
		{"XPENDING", []any{"EVAL", "for _, k in ipairs(KEYS) do redis.call('XGROUP', 'DESTROY', k, 'g') end", 2, "thing:1", target("thing:1")}},
	} {
		server := redistest.Shared(t)
		bare := server.Client()
		write(t, bare, "stream", "thing:1")
		redistest.WaitFor(t, 10*time.Second, func() bool { // the two are equal but for the millisecond of a delivery
			do(t, bare, "DEL", target("thing:1"))
			write(t, bare, "stream", target("thing:1"))
			return do(t, bare, "DUMP", "thing:1") != do(t, bare, "DUMP", target("thing:1"))
		})
		fired := false
		client := interrupted(server, func(sent []byte) {
			if !fired && sends(sent, c.before) {
				fired = true
				do(t, bare, c.gone...)
			}
		})
		if r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual}); r.Found() != 0 {
			t.Errorf("before %s: got %v: %+v", c.before, r.Problems, r.Examples)
		}
		if !fired {
			t.Errorf("the sweep never sent %s", c.before)
		}
	}
}

// TestVerifyOfAKeyThatChangesItsType: between the reading of one name and of the other it becomes something else.
func TestVerifyOfAKeyThatChangesItsType(t *testing.T) {
	for write, when := range map[string]string{"SADD": "SMISMEMBER", "HSET": "HMGET"} {
		server := redistest.Shared(t)
		bare := server.Client()
		for _, name := range []string{"thing:1", target("thing:1")} {
			do(t, bare, many(write, name, 40_000)...) // too big to be read whole
		}
		fired := false
		client := interrupted(server, func(sent []byte) {
			if !fired && sends(sent, when) {
				fired = true
				do(t, bare, "MSET", "thing:1", "v", target("thing:1"), "v")
			}
		})
		if r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual}); r.Found() != 0 {
			t.Errorf("before %s: got %v: %+v", when, r.Problems, r.Examples)
		}
		if !fired {
			t.Errorf("the sweep never sent %s", when)
		}
	}
}

// TestVerifyOfAKeyThatChangesAllTheTime: a small value is read at once; of one that is not it cannot be told whether its two
// copies are equal, and it is not passed for equal.
func TestVerifyOfAKeyThatChangesAllTheTime(t *testing.T) {
	for kind, want := range map[string]map[sweep.Class]int64{"hashtable": {}, "stream": {sweep.Unsettled: 1}} {
		t.Run(kind, func(t *testing.T) {
			server := redistest.Shared(t)
			bare := server.Client()
			write(t, bare, kind, "thing:1")
			do(t, bare, "COPY", "thing:1", target("thing:1"))
			do(t, bare, map[string][]any{"hashtable": {"SADD", target("thing:1"), "z"}, "stream": {"XADD", target("thing:1"), "9-1", "f", "v"}}[kind]...)
			armed := false
			client := interrupted(server, func(sent []byte) {
				if armed = armed || sends(sent, "DUMP"); armed && sends(sent, "EXEC") {
					do(t, bare, "COPY", "thing:1", target("thing:1"), "REPLACE")
				}
			})
			r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual})
			if !maps.Equal(r.Problems, want) {
				t.Errorf("got %v, want %v", r.Problems, want)
			}
			if len(want) > 0 {
				mustNotHold(t, r, phase.Verified, "1 keys")
			}
		})
	}
}

// TestVerifyWaitsForALoneNameThatIsAboutToExpire: its twin may just have.
func TestVerifyWaitsForALoneNameThatIsAboutToExpire(t *testing.T) {
	client := redistest.Shared(t).Client()
	for _, name := range []string{"thing:1", target("thing:2")} {
		do(t, client, "SET", name, "v", "PX", 300)
	}
	do(t, client, "SET", "thing:3", "v", "PX", 3_600_000)
	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual})
	if !maps.Equal(r.Problems, map[sweep.Class]int64{sweep.Missing: 1}) {
		t.Errorf("got %v: %+v, want the key that stays", r.Problems, r.Examples)
	}
}

// TestCleanupLooksAgain: a name that SCAN gave and that was deleted since is no stray.
func TestCleanupLooksAgain(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	do(t, bare, "SET", "thing:1", "v")
	do(t, bare, "SET", target("thing:1"), "v")
	client := interrupted(server, func(sent []byte) {
		if sends(sent, "EXISTS") {
			do(t, bare, "DEL", "thing:1", target("thing:1"))
		}
	})
	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Cleanup, Phase: phase.Sealed, Execute: true})
	if r.Matched != 1 || r.Found() != 0 {
		t.Errorf("got %d keys and %+v, want one and no stray", r.Matched, r.Examples)
	}
	mustHold(t, r, phase.NoStray)
}

// TestNoSweepSendsKEYS, nor anything else that walks a whole database at once.
func TestNoSweepSendsKEYS(t *testing.T) {
	client := redistest.Shared(t).Client()
	for i := range 10 {
		do(t, client, "SET", target("thing:"+string(rune('a'+i))), "v")
		do(t, client, "SET", "thing:"+string(rune('a'+i)), "v")
	}
	do(t, client, "CONFIG", "RESETSTAT")
	for kind, in := range map[sweep.Kind]phase.Phase{
		sweep.Backfill: phase.Dual, sweep.Verify: phase.Dual, sweep.Reverse: phase.Dual, sweep.Cleanup: phase.Sealed, sweep.Purge: phase.Guard,
	} {
		run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: kind, Phase: in, Execute: true})
	}
	stats := strings.Split(client.Info(t.Context(), "commandstats").Val(), "\r\n")
	if i := slices.IndexFunc(stats, func(line string) bool {
		return strings.HasPrefix(line, "cmdstat_keys:") || strings.HasPrefix(line, "cmdstat_eval:")
	}); i >= 0 {
		t.Errorf("got %s", stats[i])
	}
}
