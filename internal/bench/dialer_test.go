package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// keys is how many logical keys the operations go round.
const keys = 1000

var value = string(bytes.Repeat([]byte("v"), 100))

const planText = `
version: 1
environment: bench
rules:
  - {name: mirrored, legacy: "m:{id}", target: "cw:{env}:m:{id}", strategy: mirror}
  - {name: moved, legacy: "r:{id}", target: "cw:{env}:r:{id}", strategy: move}
`

// work is one operation in its variants: through a client that knows no prefixes (a bare
// one or one over the Dialer), by hand in two round trips, by hand in one transaction.
type work struct {
	name string
	// prepare fills a physical name before the measuring.
	prepare func(ctx context.Context, rdb *redis.Client, name string) error
	run     func(ctx context.Context, rdb *redis.Client, name string) error
	write   bool
	twice   func(ctx context.Context, rdb *redis.Client, legacy, target string) error
	// send queues the command itself in a transaction that is written by hand.
	send func(ctx context.Context, p redis.Pipeliner, name string)
	// partial: the command needs what was there before.
	partial bool
}

var works = []work{
	{
		name: "read",
		prepare: func(ctx context.Context, rdb *redis.Client, name string) error {
			return rdb.Set(ctx, name, value, 0).Err()
		},
		run: func(ctx context.Context, rdb *redis.Client, name string) error { return rdb.Get(ctx, name).Err() },
		twice: func(ctx context.Context, rdb *redis.Client, legacy, target string) error {
			if err := rdb.Get(ctx, target+":absent").Err(); err != redis.Nil {
				return fmt.Errorf("a target that is absent: %w", err)
			}
			return rdb.Get(ctx, legacy).Err()
		},
		send: func(ctx context.Context, p redis.Pipeliner, name string) { p.Get(ctx, name) },
	},
	{
		name:  "overwrite",
		write: true,
		prepare: func(ctx context.Context, rdb *redis.Client, name string) error {
			return rdb.Set(ctx, name, value, 0).Err()
		},
		run: func(ctx context.Context, rdb *redis.Client, name string) error {
			return rdb.Set(ctx, name, value, 0).Err()
		},
		twice: func(ctx context.Context, rdb *redis.Client, legacy, target string) error {
			if err := rdb.Set(ctx, target, value, 0).Err(); err != nil {
				return err
			}
			return rdb.Set(ctx, legacy, value, 0).Err()
		},
		send: func(ctx context.Context, p redis.Pipeliner, name string) { p.Set(ctx, name, value, 0) },
	},
	{
		name: "partial", write: true, partial: true,
		prepare: func(ctx context.Context, rdb *redis.Client, name string) error {
			return rdb.HSet(ctx, name, "f", value, "n", 1).Err()
		},
		run: func(ctx context.Context, rdb *redis.Client, name string) error {
			return rdb.HSet(ctx, name, "f", value).Err()
		},
		twice: func(ctx context.Context, rdb *redis.Client, legacy, target string) error {
			if err := rdb.HSet(ctx, target, "f", value).Err(); err != nil {
				return err
			}
			return rdb.HSet(ctx, legacy, "f", value).Err()
		},
		send: func(ctx context.Context, p redis.Pipeliner, name string) { p.HSet(ctx, name, "f", value) },
	},
}

// BenchmarkDialer prints, for every phase, operation and number of goroutines, the
// throughput beside a bare client's, and beside the same thing written by hand.
func BenchmarkDialer(b *testing.B) {
	server := redistest.Start(b)
	p, err := plan.Parse("bench.yaml", []byte(planText), os.LookupEnv)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Printf("%-9s %-9s %3s  %-18s %-18s %-18s %-18s %s\n", "phase", "command", "go",
		"x bare", "x by hand, 2 trips", "x same txn by hand", "p99 x bare", "bare/s")
	for _, rule := range p.Rules {
		for _, ph := range phase.Of(rule.Strategy) {
			if rule.Strategy == phase.Relocate && ph.Parked() {
				continue // the rows of the mirror strategy
			}
			for _, w := range works {
				for _, goroutines := range []int{1, 64} {
					row(b, server, p, rule, ph, w, goroutines)
				}
			}
		}
	}
}

func row(b *testing.B, server *redistest.Server, p *plan.Plan, rule plan.Rule, ph phase.Phase, w work, goroutines int) {
	ctx := b.Context()
	bare := client(server, goroutines, nil)
	defer func() { _ = bare.Close() }()
	if err := bare.FlushAll(ctx).Err(); err != nil {
		b.Fatal(err)
	}
	r, err := rekey.Open(ctx, p, rekey.WithPhases(map[string]phase.Phase{rule.Name: ph}))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	over := client(server, goroutines, r)
	defer func() { _ = over.Close() }()

	legacy, target := make([]string, keys), make([]string, keys)
	for i := range keys {
		legacy[i] = fmt.Sprintf("%c:%06d", rule.LegacyText[0], i)
		target[i] = "cw:bench:" + legacy[i]
		if err := w.prepare(ctx, over, legacy[i]); err != nil {
			b.Fatal(err)
		}
		if err := w.prepare(ctx, bare, "bare:"+legacy[i]); err != nil {
			b.Fatal(err)
		}
		if err := w.prepare(ctx, bare, "hand:"+legacy[i]); err != nil {
			b.Fatal(err)
		}
		if err := w.prepare(ctx, bare, "hand:"+target[i]); err != nil {
			b.Fatal(err)
		}
	}
	at := func(g, n int) int { return (n*31 + g*17) % keys }
	variants := []operation{
		func(ctx context.Context, g, n int) error { return w.run(ctx, bare, "bare:"+legacy[at(g, n)]) },
		func(ctx context.Context, g, n int) error { return w.run(ctx, over, legacy[at(g, n)]) },
		func(ctx context.Context, g, n int) error {
			return w.twice(ctx, bare, "hand:"+legacy[at(g, n)], "hand:"+target[at(g, n)])
		},
		func(ctx context.Context, g, n int) error {
			return byHand(ctx, bare, ph, w, "hand:"+legacy[at(g, n)], "hand:"+target[at(g, n)])
		},
	}
	for _, v := range variants { // connections, scripts and caches warm
		measure(b, goroutines, v)
	}
	var toBare, toTwice, toHand, p99 []float64
	var perSecond []float64
	for range rounds {
		var s [4]sample
		for i, v := range variants {
			s[i] = measure(b, goroutines, v)
		}
		toBare = append(toBare, s[1].perSecond/s[0].perSecond)
		toTwice = append(toTwice, s[1].perSecond/s[2].perSecond)
		toHand = append(toHand, s[1].perSecond/s[3].perSecond)
		p99 = append(p99, float64(s[1].p99)/float64(s[0].p99))
		perSecond = append(perSecond, s[0].perSecond)
	}
	fmt.Printf("%-9s %-9s %3d  %-18s %-18s %-18s %-18s %.0f\n", ph, w.name, goroutines,
		ratioOf(toBare), ratioOf(toTwice), ratioOf(toHand), ratioOf(p99), ratioOf(perSecond).median)
}

// byHand sends what the phase needs as one transaction that go-redis writes.
func byHand(ctx context.Context, rdb *redis.Client, ph phase.Phase, w work, legacy, target string) error {
	name := target
	if ph == phase.Legacy || ph == phase.Guard || ph == phase.Hold {
		name = legacy
	}
	steps := handWritten(ph, w, legacy, target)
	if steps == nil {
		return w.run(ctx, rdb, name)
	}
	cmds, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		steps(ctx, p)
		return nil
	})
	if ph == phase.Hold || ph == phase.Move { // RENAMENX of a name that is not there is an error
		return cmds[len(cmds)-1].Err()
	}
	return err
}

// handWritten is the transaction of design's table, nil where one command is all.
func handWritten(ph phase.Phase, w work, legacy, target string) func(context.Context, redis.Pipeliner) {
	switch {
	case ph == phase.Dual && !w.write:
		return func(ctx context.Context, p redis.Pipeliner) { copyThen(ctx, p, legacy, target, w) }
	case (ph == phase.Dual || ph == phase.Settled) && w.write:
		return func(ctx context.Context, p redis.Pipeliner) {
			if w.partial && ph == phase.Dual {
				p.Do(ctx, "COPY", legacy, target)
			}
			if w.partial {
				p.Do(ctx, "COPY", target, legacy)
			}
			w.send(ctx, p, target)
			w.send(ctx, p, legacy)
		}
	case ph == phase.Drain && !w.write:
		return func(ctx context.Context, p redis.Pipeliner) { copyThen(ctx, p, legacy, target, w) }
	case ph == phase.Drain && w.write:
		return func(ctx context.Context, p redis.Pipeliner) {
			if w.partial {
				p.Do(ctx, "COPY", legacy, target)
			}
			w.send(ctx, p, target)
			p.Unlink(ctx, legacy)
		}
	case ph == phase.Guard && w.write:
		return func(ctx context.Context, p redis.Pipeliner) { w.send(ctx, p, legacy); p.Unlink(ctx, target) }
	case ph == phase.Sealed && w.write:
		return func(ctx context.Context, p redis.Pipeliner) { w.send(ctx, p, target); p.Unlink(ctx, legacy) }
	case ph == phase.Hold && w.write:
		return func(ctx context.Context, p redis.Pipeliner) { p.RenameNX(ctx, target, legacy); w.send(ctx, p, legacy) }
	case ph == phase.Move && w.write:
		return func(ctx context.Context, p redis.Pipeliner) { p.RenameNX(ctx, legacy, target); w.send(ctx, p, target) }
	case ph == phase.Hold || ph == phase.Move:
		return func(ctx context.Context, p redis.Pipeliner) {
			p.Exists(ctx, target)
			w.send(ctx, p, target)
			w.send(ctx, p, legacy)
		}
	}
	return nil
}

func copyThen(ctx context.Context, p redis.Pipeliner, legacy, target string, w work) {
	p.Do(ctx, "COPY", legacy, target)
	w.send(ctx, p, target)
}

func client(server *redistest.Server, goroutines int, r *rekey.Rekey) *redis.Client {
	opt := &redis.Options{
		Addr: server.Addr(), PoolSize: goroutines, MaxRetries: -1,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
	}
	if r != nil {
		opt.Dialer = r.Dialer(nil)
	}
	return redis.NewClient(opt)
}
