package sweep_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// benchKeys is how many keys the benchmarks sweep; REKEY_BENCH_KEYS says otherwise.
func benchKeys(b *testing.B) int {
	text, ok := os.LookupEnv("REKEY_BENCH_KEYS")
	if !ok {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// benchSeeds make the keys of a benchmark: strings of 100 bytes, or a mix of all types.
var benchSeeds = map[string]string{
	"strings": `local v = string.rep('x', 100)
		for i = ARGV[2], ARGV[3] do redis.call('SET', ARGV[1] .. i, v) end`,
	"mix": `local v = string.rep('x', 50)
		for i = ARGV[2], ARGV[3] do
			local n, kind = ARGV[1] .. i, i % 6
			if kind == 0 then redis.call('SET', n, v, 'EX', 100000)
			elseif kind == 1 then redis.call('HSET', n, 'a', v, 'b', i, 'c', 'd')
			elseif kind == 2 then redis.call('RPUSH', n, 'a', 'b', v)
			elseif kind == 3 then redis.call('SADD', n, 'a', 'b', i)
			elseif kind == 4 then redis.call('ZADD', n, i, 'a', 2, 'b')
			else redis.call('XADD', n, '1-1', 'f', v) end
		end`,
}

func benchSeed(b *testing.B, c *redis.Client, data, prefix string, n int) {
	b.Helper()
	for from := 1; from <= n; from += 10_000 {
		if err := c.Eval(b.Context(), benchSeeds[data], nil, prefix, from, min(n, from+9_999)).Err(); err != nil && err != redis.Nil {
			b.Fatal(err)
		}
	}
}

// blast sends the commands of a sweep for all keys as fast as the server takes them, two pipelines of a page in flight, and
// returns the keys per second: what there is to reach.
func blast(b *testing.B, c *redis.Client, n int, words func(name string) [][]any, prefix string) float64 {
	b.Helper()
	pages := make(chan int)
	var work sync.WaitGroup
	begun := time.Now()
	for range 2 {
		work.Go(func() {
			for from := range pages {
				pipe := c.Pipeline()
				for i := from; i < min(n+1, from+sweep.DefaultPage); i++ {
					for _, w := range words(prefix + strconv.Itoa(i)) {
						pipe.Do(b.Context(), w...)
					}
				}
				_, _ = pipe.Exec(b.Context()) // errors of commands are the server's answer, and count as work
			}
		})
	}
	for from := 1; from <= n; from += sweep.DefaultPage {
		pages <- from
	}
	close(pages)
	work.Wait()
	return float64(n) / time.Since(begun).Seconds()
}

// foreground asks for a key a thousand times a second, as an application would, and returns the 99th percentile.
func foreground(b *testing.B, c *redis.Client, until <-chan struct{}) <-chan time.Duration {
	b.Helper()
	out := make(chan time.Duration, 1)
	go func() {
		var took []time.Duration
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-until:
				slices.Sort(took)
				if len(took) == 0 {
					took = []time.Duration{0}
				}
				out <- took[len(took)*99/100]
				return
			case <-ticker.C:
				begun := time.Now()
				_ = c.Get(context.WithoutCancel(b.Context()), "somebody:else").Err() // there is no such key
				took = append(took, time.Since(begun))
			}
		}
	}()
	return out
}

// during returns what work returns, and the foreground's p99 while it ran.
func during(b *testing.B, c *redis.Client, work func() float64) (result float64, p99 time.Duration) {
	b.Helper()
	stop := make(chan struct{})
	out := foreground(b, c, stop)
	result = work()
	close(stop)
	return result, <-out
}

// process runs a sweep as a process of its own, for some time at most, and returns its keys per second and its memory in MiB.
func (c childSweep) process(b *testing.B, client *redis.Client, n int, within time.Duration) (rate, mib float64) {
	b.Helper()
	cmd := c.command(b)
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() }) // it may be done by then
	err := cmd.Wait()
	took, done := time.Since(begun), float64(n)
	if !timer.Stop() {
		raw := client.Get(b.Context(), "rekey:test:sweep:"+c.Kind.String()+":"+c.Rule).Val()
		_, rest, _ := strings.Cut(raw, `"matched":`)
		text, _, _ := strings.Cut(rest, ",")
		done, _ = strconv.ParseFloat(text, 64)
		do(b, client, "DEL", "rekey:test:sweep:"+c.Kind.String()+":"+c.Rule)
	} else if err != nil {
		b.Fatalf("%v of %s: %v", c.Kind, c.Rule, err)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		mib = float64(usage.Maxrss) / 1024
	}
	return done / took.Seconds(), mib
}

// shell is the best pipeline of redis-cli and awk, for some time at most; 0 where there is no redis-cli.
func shell(b *testing.B, server *redistest.Server, client *redis.Client, within time.Duration) float64 {
	b.Helper()
	if _, err := exec.LookPath("redis-cli"); err != nil {
		return 0
	}
	_, port, _ := strings.Cut(server.Addr(), ":")
	before := client.DBSize(b.Context()).Val()
	line := fmt.Sprintf(`timeout %d redis-cli -p %s --scan --pattern 'thing:*' | awk '{print "COPY", $0, "cw:test:" $0}' | redis-cli -p %[2]s --pipe >/dev/null`, int(within.Seconds()), port)
	begun := time.Now()
	_ = exec.Command("sh", "-c", line).Run() // it is stopped
	return float64(client.DBSize(b.Context()).Val()-before) / time.Since(begun).Seconds()
}

// BenchmarkSweeps measures each sweep, as a process, beside the same commands blasted without SCAN in the same run, and the
// foreground's p99 beside idle: unthrottled, and with the default throttle for ten seconds.
func BenchmarkSweeps(b *testing.B) {
	const throttledFor = 10 * time.Second
	both := func(n string) [][]any { return [][]any{{"COPY", n, target(n)}} }
	for _, data := range []string{"strings", "mix"} {
		for _, job := range []struct {
			kind   sweep.Kind
			rule   string
			prefix string
			phase  phase.Phase
			twice  bool                      // both copies are there
			blast  func(name string) [][]any // what the sweep sends for each key; verify is measured beside COPY
		}{
			{sweep.Backfill, "things", "thing:", phase.Dual, false, both},
			{sweep.Reverse, "things", "thing:", phase.Dual, true, func(n string) [][]any { return [][]any{{"COPY", target(n), n, "REPLACE"}} }},
			{sweep.Verify, "things", "thing:", phase.Dual, true, both},
			{sweep.Cleanup, "things", "thing:", phase.Sealed, true, func(n string) [][]any { return [][]any{{"EXISTS", target(n)}, {"UNLINK", n}} }},
			{sweep.Relocate, "limits", "limit:", phase.Move, false, func(n string) [][]any { return [][]any{{"RENAMENX", n, target(n)}} }},
		} {
			b.Run(data+"/"+job.kind.String(), func(b *testing.B) {
				n := benchKeys(b)
				for range b.N {
					server := redistest.Start(b)
					client := server.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
					fresh := func() {
						do(b, client, "FLUSHALL")
						benchSeed(b, client, data, job.prefix, n)
						if job.twice {
							benchSeed(b, client, data, target(job.prefix), n)
						}
					}
					_, idle := during(b, client, func() float64 { time.Sleep(2 * time.Second); return 0 })
					fresh()
					if job.kind == sweep.Verify {
						do(b, client, "FLUSHALL")
						benchSeed(b, client, data, job.prefix, n)
					}
					limit, blastP99 := during(b, client, func() float64 { return blast(b, client, n, job.blast, job.prefix) })
					fresh()
					child := childSweep{Addr: server.Addr(), Kind: job.kind, Rule: job.rule, Phase: job.phase, Big: sweep.BigNow}
					var mib, shellRate float64
					rate, p99 := during(b, client, func() (rate float64) {
						rate, mib = child.process(b, client, n, 10*time.Minute)
						return rate
					})
					fresh()
					child.Throttled, child.Big = true, sweep.BigSkip
					calm, calmP99 := during(b, client, func() float64 {
						rate, _ := child.process(b, client, n, throttledFor)
						return rate
					})
					if job.kind == sweep.Backfill {
						fresh()
						shellRate = shell(b, server, client, throttledFor)
						b.ReportMetric(rate/max(shellRate, 1), "x-shell")
					}
					b.ReportMetric(rate, "keys/s")
					b.ReportMetric(rate/limit, "x-blast")
					b.ReportMetric(calm, "throttled-keys/s")
					b.ReportMetric(mib, "MiB")
					for name, d := range map[string]time.Duration{"idle": idle, "blast": blastP99, "sweep": p99, "throttled": calmP99} {
						b.ReportMetric(float64(d.Microseconds())/1000, name+"-p99-ms")
					}
				}
			})
		}
	}
}
