package faulttest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// evicting are the policies of servers that drop keys for want of memory.
var evicting = []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}

// TestEvictedCopy: a server that evicts may drop either copy of a key at any time. Nothing stale comes
// of it: not after the target was dropped and the key written anew, nor when it is read by a neighbour.
// The eviction is a removal by a bare connection, which is what it is to everybody else.
func TestEvictedCopy(t *testing.T) {
	for _, policy := range evicting {
		for _, pair := range neighbours() {
			if policy != "allkeys-lru" && (pair[0] != mirrorDual || pair[1].phase == pair[0].phase) {
				continue // every pair once, the other policies where there are two copies
			}
			first, second := pair[0], pair[1]
			t.Run(policy+"/"+first.String()+" beside "+second.phase.String(), func(t *testing.T) {
				server := redistest.Shared(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy "+policy))
				bare := server.Conn()
				a, b := connect(t, in(t, first), server.Addr()), connect(t, in(t, second), server.Addr())
				for i, evicted := range []func(string) string{first.legacy, first.target} {
					k := []string{"k0", "k1"}[i]
					want(t, a, "1", "RPUSH", first.legacy(k), "old")
					want(t, b, "2", "RPUSH", first.legacy(k), "newer")
					_ = bare.Do("DEL", evicted(k))
					// What one reads, the other reads: the value, or a miss where it was dropped.
					seen := text(a.Do("LRANGE", first.legacy(k), "0", "-1"))
					if seen != "[old newer]" && seen != "[]" {
						t.Errorf("read %s after an eviction, want the value or a miss", seen)
					}
					missed := seen == "[]"
					want(t, a, map[bool]string{false: "3", true: "1"}[missed], "RPUSH", first.legacy(k), "x")
					wanted := map[bool]string{false: "[old newer x]", true: "[x]"}[missed]
					want(t, a, wanted, "LRANGE", first.legacy(k), "0", "-1")
					want(t, b, wanted, "LRANGE", first.legacy(k), "0", "-1")
				}
			})
		}
	}
}

// TestEvictedCopyIsAFault: what each part of the protocol does for a key that lost one copy, shown by
// leaving it out. The lines are what a program would send that does without the part.
func TestEvictedCopyIsAFault(t *testing.T) {
	for _, policy := range evicting {
		server := redistest.Shared(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy "+policy))
		for without, history := range map[string][]string{
			"UNLINK L in sealed and drain": { // the neighbour in dual answers what was overwritten
				"SET mi:k old > OK", "SET cw:test:mi:k old > OK", "SET cw:test:mi:k new > OK",
				"DEL cw:test:mi:k > 1", // the eviction
				"COPY mi:k cw:test:mi:k > 1", "GET cw:test:mi:k > old",
			},
			"UNLINK P in guard": { // as above, and it is the legacy copy that was dropped
				"RPUSH mi:k old > 1", "COPY mi:k cw:test:mi:k > 1",
				"DEL mi:k > 1",
				"LRANGE mi:k 0 -1 > []", "RPUSH mi:k new > 1",
				"LRANGE cw:test:mi:k 0 -1 > [old]",
			},
			"COPY L P in dual": { // what was read a moment ago is gone, and nobody removed it
				"RPUSH cw:test:mi:k old > 1", "RPUSH mi:k old > 1",
				"DEL cw:test:mi:k > 1",
				"LRANGE cw:test:mi:k 0 -1 > []", "LRANGE mi:k 0 -1 > [old]",
				"RPUSH cw:test:mi:k x > 1", "RPUSH mi:k x > 2",
				"LRANGE cw:test:mi:k 0 -1 > [x]",
			},
			"COPY P L in dual": { // the way back through guard reads half a list
				"RPUSH cw:test:mi:k old > 1", "RPUSH mi:k old > 1",
				"DEL mi:k > 1",
				"RPUSH cw:test:mi:k x > 2", "RPUSH mi:k x > 1",
				"LRANGE cw:test:mi:k 0 -1 > [old x]", "LRANGE mi:k 0 -1 > [x]",
			},
		} {
			t.Run(policy+"/without "+without, func(t *testing.T) {
				bare := server.Conn()
				want(t, bare, "OK", "FLUSHALL")
				transcript(t, bare, history...)
			})
		}
	}
}

// TestReplayOfAnEvictedCopyIsAFault: in settled a key without its target is a miss, and its legacy copy
// must not come back. A write is therefore not sent on both names where the server evicts. A
// connection that was opened under noeviction stands for the engine without that: what it writes onto
// the miss is added to the old legacy copy, and when the target is dropped once more, the neighbour
// in dual reads what nobody had seen for two reads and a write.
func TestReplayOfAnEvictedCopyIsAFault(t *testing.T) {
	settled := stage{phase.Mirror, phase.Settled}
	k, target := settled.legacy("k"), settled.target("k")
	for _, policy := range evicting {
		for _, mended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/mended %v", policy, mended), func(t *testing.T) {
				server := redistest.Shared(t)
				bare := server.Conn()
				if mended {
					want(t, bare, "OK", "CONFIG", "SET", "maxmemory-policy", policy)
				}
				r := unchecked(t, rekey.WithPhases(settled.phases()))
				a := connect(t, r, server.Addr())
				want(t, a, "1", "RPUSH", k, "old") // the policy is asked for before this
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory-policy", policy)
				b := connect(t, in(t, mirrorDual), server.Addr())

				want(t, bare, "1", "DEL", target) // the eviction
				want(t, a, "[]", "LRANGE", k, "0", "-1")
				want(t, a, "1", "RPUSH", k, "x")
				want(t, a, "[x]", "LRANGE", k, "0", "-1")
				want(t, bare, "1", "DEL", target)
				value, divergences := "[old x]", uint64(1)
				if mended {
					value, divergences = "[x]", 0
				}
				want(t, b, value, "LRANGE", k, "0", "-1")
				if got := stats(r, settled).Divergences; got != divergences {
					t.Errorf("%d divergences, want %d", got, divergences)
				}
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory-policy", "noeviction")
			})
		}
	}
}

// smallServer evicts for real: somewhat more than a hundred values of valueSize fit.
var smallServer = redistest.WithConfig("maxmemory 3mb", "maxmemory-policy allkeys-lru")

const valueSize = 15000

// TestRealEviction fills a small server that evicts, by two instances in turns. Every reader sees what
// was last written, or a miss; never an older value.
func TestRealEviction(t *testing.T) {
	server := redistest.Shared(t, smallServer)
	bare := server.Conn()
	for _, pair := range neighbours() {
		t.Run(pair[0].String()+" beside "+pair[1].phase.String(), func(t *testing.T) {
			want(t, bare, "OK", "FLUSHALL")
			want(t, bare, "OK", "CONFIG", "RESETSTAT")
			var conns [2]*redistest.Conn
			for i, s := range pair {
				conns[i] = connect(t, in(t, s), server.Addr())
			}
			last := make(map[string]string)
			hits, misses := 0, 0
			for i := range 600 {
				// Each of the two writes and reads, the keys of the other too.
				c := conns[i/3%2]
				// More keys than fit. Their number is no multiple of 3, so each gets commands of each kind.
				k := pair[0].legacy(strconv.Itoa(i % 175))
				v := strings.Repeat(fmt.Sprintf("%04d.", i), (valueSize+5*(i%50))/5) // no two alike, of many lengths
				old := last[k]
				switch i % 3 {
				case 0:
					switch got := text(c.Do("SET", k, v)); {
					case got == "OK":
						last[k] = v
					case !strings.HasPrefix(got, "OOM "):
						t.Fatalf("write %d: %s", i, got)
					}
				case 1:
					switch text(c.Do("GET", k)) {
					case "nil":
						misses++
					case old:
						hits++
					default:
						t.Fatalf("read %d: %s holds neither what was last written nor nothing", i, k)
					}
				default:
					// Over the old value, of which what is longer stays, or over nothing: the reply tells.
					got := text(c.Do("SETRANGE", k, "0", v))
					switch {
					case strings.HasPrefix(got, "OOM "):
						continue
					case got == strconv.Itoa(len(v)):
						last[k] = v
					case len(old) > len(v) && got == strconv.Itoa(len(old)):
						last[k] = v + old[len(v):]
					default:
						t.Fatalf("write %d: SETRANGE over %d with %d bytes: %s", i, len(old), len(v), got)
					}
					if now := text(c.Do("GET", k)); now != "nil" && now != last[k] {
						t.Fatalf("write %d: %s holds neither what was written nor nothing", i, k)
					}
				}
			}
			if strings.Contains(text(bare.Do("INFO", "stats")), "evicted_keys:0\r\n") || hits == 0 || misses == 0 {
				t.Errorf("%d hits and %d misses, want both, and evictions", hits, misses)
			}
		})
	}
}

// TestRealEvictionIsAFault: targets are overwritten and then dropped for want of memory. By hand, the
// legacy copies stand, and a dual read answers with an old value; through the engine, which removed
// them, it is a miss.
func TestRealEvictionIsAFault(t *testing.T) {
	sealed := stage{phase.Mirror, phase.Sealed}
	old, fresh := strings.Repeat("o", valueSize), strings.Repeat("n", valueSize)
	for _, mode := range []string{"by hand", "engine"} {
		t.Run(mode, func(t *testing.T) {
			server := redistest.Shared(t, smallServer)
			bare := server.Conn()
			dual, writer := connect(t, in(t, mirrorDual), server.Addr()), connect(t, in(t, sealed), server.Addr())
			var ids []string
			touch := []string{"TOUCH"}
			for i := range 40 {
				id := strconv.Itoa(i)
				want(t, dual, "OK", "SET", sealed.legacy(id), old)
				if mode == "by hand" {
					want(t, bare, "OK", "SET", sealed.target(id), fresh)
				} else {
					want(t, writer, "OK", "SET", sealed.legacy(id), fresh)
				}
				ids, touch = append(ids, id), append(touch, sealed.legacy(id))
			}
			limit := text(bare.Do("CONFIG", "GET", "maxmemory").Elems[1])
			// More is written until a target is dropped, by hand one that leaves a legacy copy: others still
			// read those. While the test looks, the server has memory enough, so that nothing else goes.
			dropped, fillers := "", 0
			redistest.WaitFor(t, replyWithin, func() bool {
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory", limit)
				_ = bare.Do(touch...)
				fillers++
				want(t, bare, "OK", "SET", "filler:"+strconv.Itoa(fillers), fresh)
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "0")
				for _, id := range ids {
					if text(bare.Do("EXISTS", sealed.target(id))) == "0" &&
						(mode == "engine" || text(bare.Do("EXISTS", sealed.legacy(id))) == "1") {
						dropped = id
					}
				}
				return dropped != ""
			})
			if mode == "by hand" {
				want(t, bare, "1", "COPY", sealed.legacy(dropped), sealed.target(dropped))
				want(t, bare, old, "GET", sealed.target(dropped))
			} else {
				want(t, dual, "nil", "GET", sealed.legacy(dropped))
			}
			want(t, bare, "OK", "CONFIG", "SET", "maxmemory", limit)
		})
	}
}
