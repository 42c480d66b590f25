package faulttest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// client makes a go-redis client over an instance.
func client(t testing.TB, r *rekey.Rekey, server *redistest.Server) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() }) // a test may have closed it
	return rdb
}

// TestOptimisticCounters: two instances in phases that may stand side by side add to two counters by
// WATCH, reads, writes of another key and EXEC. Every success counts once, whatever the neighbours'
// transactions do to the two names in between.
//
// That the test can fail is shown by its last row: guard beside settled, which may not stand side by
// side, loses additions.
func TestOptimisticCounters(t *testing.T) {
	server := redistest.Shared(t)
	for _, pair := range neighbours() {
		if pair[0].phase > pair[1].phase {
			continue // the same two, the other way round
		}
		t.Run(pair[0].String()+" beside "+pair[1].phase.String(), func(t *testing.T) {
			got, want := countTogether(t, server, pair)
			if got != want {
				t.Errorf("counters %v, want %v: transactions that succeeded", got, want)
			}
		})
	}
	wrong := [2]stage{{phase.Mirror, phase.Guard}, {phase.Mirror, phase.Settled}}
	if got, want := countTogether(t, server, wrong); got == want {
		t.Errorf("guard beside settled: counters %v are exact; the test cannot fail", got)
	}
}

// countTogether runs the loops and gives what one instance reads in the end, and what must be there.
func countTogether(t *testing.T, server *redistest.Server, pair [2]stage) (got, want [2]int64) {
	t.Helper()
	bare := server.Client()
	must(t, bare.FlushAll(t.Context()).Err())
	const successes = 20
	var done [2]atomic.Int64
	var loops sync.WaitGroup
	var clients [2]*redis.Client
	for i, s := range pair {
		rdb := client(t, unchecked(t, rekey.WithPhases(s.phases())), server)
		clients[i] = rdb
		for counter := range done {
			loops.Go(func() {
				for n := 0; n < successes; {
					switch err := addOptimistically(t.Context(), rdb, s.legacy([]string{"x", "y"}[counter])); {
					case err == nil:
						n++
						done[counter].Add(1)
					case !errors.Is(err, redis.TxFailedErr):
						t.Errorf("%s: %v", s, err)
						return
					}
				}
			})
		}
	}
	loops.Wait()
	for counter := range done {
		n, err := clients[1].Get(t.Context(), pair[1].legacy([]string{"x", "y"}[counter])).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		got[counter], want[counter] = n, done[counter].Load()
	}
	return got, want
}

// addOptimistically adds 1 to a counter if nobody else changes it meanwhile, with reads and writes
// of the connection's own between WATCH and MULTI.
func addOptimistically(ctx context.Context, rdb *redis.Client, k string) error {
	return rdb.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, k).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if err := tx.Incr(ctx, k+":tries").Err(); err != nil {
			return err
		}
		if err := tx.MGet(ctx, k, k+":tries").Err(); err != nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, k, n+1, 0)
			return nil
		})
		return err
	}, k)
}

// readsOfOne are reads of one key of every class that has one.
var readsOfOne = []string{"GET", "EXISTS", "TYPE", "STRLEN", "PTTL", "TOUCH", "MGET", "DUMP"}

// TestOptimisticBesideReaders: reads are not writes. Beside two busy readers an optimistic
// transaction that no writer disturbs succeeds, in every pair of phases that may stand side by side.
// A reader whose reads moved or copied what is watched would make every one of them fail.
func TestOptimisticBesideReaders(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, pair := range neighbours() {
		reader, writer := pair[0], pair[1]
		t.Run(writer.String()+" beside readers in "+reader.phase.String(), func(t *testing.T) {
			must(t, bare.FlushAll(t.Context()).Err())
			w := client(t, in(t, writer), server)
			r := client(t, in(t, reader), server)
			ctx, stop := context.WithCancel(t.Context())
			var reads atomic.Int64
			var readers sync.WaitGroup
			for range 2 {
				readers.Go(func() {
					for ctx.Err() == nil {
						word := readsOfOne[int(reads.Add(1))%len(readsOfOne)]
						if err := r.Do(t.Context(), word, writer.legacy("k")).Err(); err != nil && !errors.Is(err, redis.Nil) {
							t.Errorf("%s: %v", word, err)
							return
						}
					}
				})
			}
			const tries = 50
			ok := 0
			for range tries {
				switch err := addOptimistically(t.Context(), w, writer.legacy("k")); {
				case err == nil:
					ok++
				case !errors.Is(err, redis.TxFailedErr):
					t.Errorf("transaction: %v", err)
				}
			}
			stop()
			readers.Wait()
			t.Logf("%d of %d transactions succeeded beside %d reads", ok, tries, reads.Load())
			if ok < tries*9/10 {
				t.Errorf("%d of %d optimistic transactions succeeded beside readers, want nine of ten", ok, tries)
			}
		})
	}
}

// TestReadsThatMoveStarve shows the fault of the test above by hand: where a read brings the key to
// its own name, as the obvious move strategy would, WATCH on both names never holds.
func TestReadsThatMoveStarve(t *testing.T) {
	server := redistest.Shared(t)
	watcher, reader := server.Conn(), server.Conn()
	want(t, watcher, "OK", "SET", "mo:k", "1")
	want(t, watcher, "OK", "WATCH", "mo:k", "cw:test:mo:k")
	want(t, reader, "1", "RENAMENX", "mo:k", "cw:test:mo:k")
	want(t, watcher, "OK", "MULTI")
	want(t, watcher, "QUEUED", "INCR", "cw:test:mo:k")
	want(t, watcher, "nil", "EXEC")
}
