//go:build clients

package ratelimit_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// shared is a limit as both programs have it. The block is longer than the window, so a TTL tells
// which of the two it is.
var shared = ratelimit.Limit{Name: "general", Points: 100, Window: 900 * time.Second, Block: 1800 * time.Second}

// nodeAnswer is what rate-limiter-flexible says of one hit.
type nodeAnswer struct {
	Allowed   bool  `json:"allowed"`
	Consumed  int64 `json:"consumed"`
	Remaining int   `json:"remaining"`
	MS        int64 `json:"ms"`
}

// nodeLimiter is a Node process with a RateLimiterRedis.
type nodeLimiter struct {
	t    testing.TB
	send *json.Encoder
	read *bufio.Reader
}

// startNode starts a process whose client is "ioredis" or "redis". Without Node, or its packages, the
// test fails and says what to install.
func startNode(t testing.TB, s *redistest.Server, client string, limit ratelimit.Limit) *nodeLimiter {
	t.Helper()
	fetch := exec.CommandContext(t.Context(), "../../scripts/get-node-clients")
	var complaint strings.Builder
	fetch.Stderr = &complaint
	folders, err := fetch.Output()
	if err != nil {
		t.Fatalf("scripts/get-node-clients: %v\n%s", err, &complaint)
	}
	folder, _, _ := strings.Cut(string(folders), "\n")
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	options, err := json.Marshal(map[string]any{
		"keyPrefix": "rl:" + limit.Name, "points": limit.Points,
		"duration": limit.Window.Seconds(), "blockDuration": limit.Block.Seconds(),
	})
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "testdata/node/limiter.js", folder, client, port, string(options))
	node.Stderr = t.Output()
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // its end of input is its end
		_ = node.Wait()
	})
	return &nodeLimiter{t, json.NewEncoder(in), bufio.NewReader(out)}
}

// hits makes n hits at once.
func (n *nodeLimiter) hits(count int, key string) []nodeAnswer {
	n.t.Helper()
	if err := n.send.Encode(map[string]any{"hits": count, "key": key}); err != nil {
		n.t.Fatal(err)
	}
	line, err := n.read.ReadBytes('\n')
	if err != nil {
		n.t.Fatalf("node: %v", err)
	}
	var answers []nodeAnswer
	if err := json.Unmarshal(line, &answers); err != nil {
		n.t.Fatalf("node: %s: %v", line, err)
	}
	return answers
}

func (n *nodeLimiter) hit(key string) nodeAnswer {
	n.t.Helper()
	return n.hits(1, key)[0]
}

var nodeClients = []string{"ioredis", "redis"}

// Hits of both programs at once on one key pass exactly the limit together.
func TestNodeAndWeCountTogether(t *testing.T) {
	for _, client := range nodeClients {
		t.Run(client, func(t *testing.T) {
			s := redistest.Shared(t)
			node, ours := startNode(t, s, client, shared), newLimiter(t, s.Client(once))
			node.hit("warm")
			var theirPassed, ourPassed int
			for range 50 { // 20 hits at a time, so that both get some of the points
				var round sync.WaitGroup
				round.Go(func() { ourPassed += hits(t, 10, shared, "203.0.113.7", ours) })
				for _, a := range node.hits(10, "203.0.113.7") {
					if a.Allowed {
						theirPassed++
					}
				}
				round.Wait()
			}
			t.Logf("passed: node %d, ours %d", theirPassed, ourPassed)
			if theirPassed+ourPassed != shared.Points || theirPassed == 0 || ourPassed == 0 {
				t.Errorf("%d hits passed in Node and %d here, want %d together", theirPassed, ourPassed, shared.Points)
			}
		})
	}
}

// One after the other, each sees what the other counted, hit by hit, and both begin the same block.
func TestNodeAndWeBlockTogether(t *testing.T) {
	limit := shared
	limit.Name, limit.Points = "auth", 6
	for _, client := range nodeClients {
		for _, c := range []struct {
			name  string
			first int // 0: the excess is Node's hit, 1: it is ours
		}{{"node begins the block", 0}, {"we begin the block", 1}} {
			t.Run(client+"/"+c.name, func(t *testing.T) {
				s := redistest.Shared(t)
				node, ours := startNode(t, s, client, limit), newLimiter(t, s.Client(once))
				for i := range limit.Points + 4 {
					allowed, left, wait := i < limit.Points, max(limit.Points-i-1, 0), time.Duration(0)
					if (i+limit.Points)%2 == c.first {
						a := node.hit("u1")
						if a.Allowed != allowed || a.Consumed != int64(i+1) || a.Remaining != left {
							t.Errorf("hit %d, Node: %+v", i+1, a)
						}
						wait = time.Duration(a.MS) * time.Millisecond
					} else {
						d := take(t, ours, limit, "u1")
						if d.Allowed != allowed || d.Remaining != left {
							t.Errorf("hit %d, ours: %+v", i+1, d)
						}
						wait = d.Reset
					}
					if blocked := wait > limit.Window; blocked == allowed || wait > limit.Block {
						t.Errorf("hit %d: the end is in %v", i+1, wait)
					}
				}
			})
		}
	}
}

// The same hits leave the same bytes, whoever makes them.
func TestNodeAndWeStoreTheSame(t *testing.T) {
	limit := shared
	limit.Points = 3
	for _, client := range nodeClients {
		t.Run(client, func(t *testing.T) {
			s := redistest.Shared(t)
			node, ours, rdb := startNode(t, s, client, limit), newLimiter(t, s.Client(once)), s.Client()
			for i := range 6 {
				node.hit("theirs")
				take(t, ours, limit, "ours")
				names := []string{key(t, limit, "theirs"), key(t, limit, "ours")}
				if n, _ := rdb.Exists(t.Context(), names...).Result(); n != 2 {
					t.Fatalf("after %d hits %d of the two keys exist: a name differs", i+1, n)
				}
				theirs, ours := stored(t, rdb.Do(t.Context(), "DUMP", names[0]).String()), stored(t, rdb.Do(t.Context(), "DUMP", names[1]).String())
				if theirs != ours {
					t.Errorf("after %d hits Node stored %q, we %q", i+1, theirs, ours)
				}
				for _, name := range names {
					left := rdb.PTTL(t.Context(), name).Val()
					if blocked := left > limit.Window; blocked != (i >= limit.Points) || left <= 0 || left > limit.Block {
						t.Errorf("after %d hits %s has a TTL of %v", i+1, name, left)
					}
				}
			}
		})
	}
}

// stored takes the command off a printed reply, which names the key.
func stored(t testing.TB, reply string) string {
	t.Helper()
	_, value, ok := strings.Cut(reply, ": ")
	if !ok {
		t.Fatalf("no value in %q", reply)
	}
	return value
}

// A Node process of the old release knows the legacy name only; ours counts with it for as long as
// rekey keeps the counters there.
func TestNodeAndWeOverRekey(t *testing.T) {
	for _, at := range []phase.Phase{phase.Legacy, phase.Hold} {
		t.Run(at.String(), func(t *testing.T) {
			s := redistest.Shared(t)
			node, m := startNode(t, s, "ioredis", shared), newMember(t, s, at)
			passed := hits(t, 60, shared, "u1", m.limiter)
			for _, a := range node.hits(60, "u1") {
				if a.Allowed {
					passed++
				}
			}
			if passed != shared.Points {
				t.Errorf("%d of 120 hits passed together, want %d", passed, shared.Points)
			}
			if d := take(t, m.limiter, shared, "u1"); d.Allowed || d.RetryAfter <= shared.Window {
				t.Errorf("after Node's block: %+v", d)
			}
		})
	}
}
