package sweep_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
		return 200_000
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
			if kind == 0 then redis.call('SET', n, v, 'PXAT', 4102444800000)
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

// process runs a sweep as a process of its own, for some time at most, and returns its keys per second, its memory in MiB
// and its processor time as a part of one core.
func (c childSweep) process(b *testing.B, client *redis.Client, n int, within time.Duration) (rate, mib, cpu float64) {
	b.Helper()
	cmd := c.command(b)
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() }) // it may be done by then
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	for waits := true; waits; {
		select {
		case err = <-ended:
			waits = false
		case <-time.After(20 * time.Millisecond):
			mib = max(mib, peakMiB(cmd.Process.Pid))
		}
	}
	took, done := time.Since(begun), float64(n)
	if !timer.Stop() {
		raw := client.Get(b.Context(), "rekey:test:sweep:"+c.Kind.String()+":"+c.Rule).Val()
		_, rest, _ := strings.Cut(raw, `"matched":`)
		text, _, _ := strings.Cut(rest, ",")
		done, _ = strconv.ParseFloat(text, 64)
		if c.Kind == sweep.Verify {
			done /= 2 // it matches both names of a key
		}
		do(b, client, "DEL", "rekey:test:sweep:"+c.Kind.String()+":"+c.Rule)
	} else if err != nil {
		b.Fatalf("%v of %s: %v", c.Kind, c.Rule, err)
	}
	cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / took.Seconds()
	return done / took.Seconds(), mib, cpu
}

// peakMiB is the most memory that a process has held; 0 where the system does not tell. What wait tells counts the process in
// that began it.
func peakMiB(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.ParseFloat(text, 64)
	return kib / 1024
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

// benchJobs are the sweeps with what they send for a page, in the same form, blasted.
var benchJobs = []struct {
	name    string
	kind    sweep.Kind
	rule    string
	prefix  string
	phase   phase.Phase
	twice   bool // both copies are there
	minIdle time.Duration
	limit   []asked
}{
	{"backfill", sweep.Backfill, "things", "thing:", phase.Dual, false, 0, []asked{copyEach}},
	{"reverse", sweep.Reverse, "things", "thing:", phase.Dual, true, 0, []asked{
		each(func(n string) []string { return []string{"COPY", target(n), n, "REPLACE"} }),
	}},
	{"verify", sweep.Verify, "things", "thing:", phase.Dual, true, 0, []asked{
		each(func(n string) []string { return []string{"GETRANGE", n, "0", "4095"} }, func(n string) []string { return []string{"GETRANGE", target(n), "0", "4095"} }),
		all("EXISTS", itself),
	}},
	{"cleanup", sweep.Cleanup, "things", "thing:", phase.Sealed, true, 0, []asked{all("EXISTS", target), all("UNLINK", itself)}},
	{"cleanup-min-idle", sweep.Cleanup, "things", "thing:", phase.Sealed, true, time.Second, []asked{
		all("EXISTS", target), each(func(n string) []string { return []string{"OBJECT", "IDLETIME", n} }), all("UNLINK", itself),
	}},
	{"relocate", sweep.Relocate, "limits", "limit:", phase.Move, false, 0, []asked{
		each(func(n string) []string { return []string{"RENAMENX", n, target(n)} }),
	}},
}

var copyEach = each(func(n string) []string { return []string{"COPY", n, target(n)} })

// throttledFor is how long a throttled sweep, and the shell, are watched.
const throttledFor = 10 * time.Second

// BenchmarkSweeps measures each sweep, as a process, beside the bare limit in the same run: its commands blasted without SCAN
// (x-blast), and COPY of the same keys blasted as well (x-copy). x-cpu is the same as x-blast by the server's processor time: where other
// processes take the cores, it says what x-blast would be without them; and x-cpu-bound what it would be if SCAN, which the blast does without, were
// all that came to it. The foreground's p99 is that of fifty connections: idle, beside the blast,
// beside the sweep unthrottled, and beside one with the default throttle for ten seconds.
func BenchmarkSweeps(b *testing.B) {
	for _, data := range []string{"strings", "mix"} {
		for _, job := range benchJobs {
			b.Run(data+"/"+job.name, func(b *testing.B) {
				n := benchKeys(b)
				server := redistest.Start(b)
				client := server.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
				fresh := func(twice bool) {
					do(b, client, "FLUSHALL")
					benchSeed(b, client, data, job.prefix, n)
					if twice {
						benchSeed(b, client, data, target(job.prefix), n)
					}
					time.Sleep(2 * job.minIdle)
				}
				for range b.N {
					_, idle := during(b, server, func() float64 { time.Sleep(2 * time.Second); return 0 })
					fresh(job.twice)
					limit, blasted := blast(b, server, job.prefix, job.limit...)
					ofCopy := limit
					if job.kind != sweep.Backfill {
						fresh(false)
						ofCopy, _ = blast(b, server, job.prefix, copyEach)
					}
					fresh(job.twice)
					child := childSweep{Addr: server.Addr(), Kind: job.kind, Rule: job.rule, Phase: job.phase, Big: sweep.BigNow, MinIdle: job.minIdle}
					var rate, mib, cpu float64
					before := scanTime(b, client)
					_, swept := during(b, server, func() float64 {
						rate, mib, cpu = child.process(b, client, n, 10*time.Minute)
						return rate
					})
					scan := (scanTime(b, client) - before) / time.Duration(n)
					fresh(job.twice)
					child.Throttled, child.Big = true, sweep.BigSkip
					calm, calmed := during(b, server, func() float64 {
						rate, _, _ := child.process(b, client, n, throttledFor)
						return rate
					})
					if job.kind == sweep.Backfill {
						fresh(false)
						b.ReportMetric(rate/max(shell(b, server, client, throttledFor), 1), "x-shell")
					}
					b.ReportMetric(rate/ofCopy, "x-copy")
					b.ReportMetric(rate, "keys/s")
					b.ReportMetric(rate/limit, "x-blast")
					b.ReportMetric(calm, "throttled-keys/s")
					b.ReportMetric(mib, "MiB")
					own := blasted.perKey(limit, idle)
					b.ReportMetric(float64(own)/float64(swept.perKey(rate, idle)), "x-cpu")
					b.ReportMetric(float64(own)/float64(own+scan), "x-cpu-bound")
					b.ReportMetric(cpu, "sweep-cores")
					b.ReportMetric(blasted.cpu, "blast-server-cores")
					b.ReportMetric(swept.cpu, "server-cores")
					for name, seen := range map[string]observed{"idle": idle, "blast": blasted, "sweep": swept, "throttled": calmed} {
						b.ReportMetric(float64(seen.p99.Microseconds())/1000, name+"-p99-ms")
					}
				}
			})
		}
	}
}

// BenchmarkPages is what the size of a page is chosen by: the server's and the sweep's processor time for a key, and the
// foreground's p99.
func BenchmarkPages(b *testing.B) {
	for _, job := range benchJobs {
		if job.kind != sweep.Backfill && job.kind != sweep.Verify {
			continue
		}
		server := redistest.Start(b)
		client := server.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
		for _, page := range []int{100, 300, 500, 1000, 3000} {
			b.Run(fmt.Sprintf("%v/%d", job.kind, page), func(b *testing.B) {
				n := benchKeys(b)
				for range b.N {
					do(b, client, "FLUSHALL")
					benchSeed(b, client, "strings", job.prefix, n)
					if job.twice {
						benchSeed(b, client, "strings", target(job.prefix), n)
					}
					child := childSweep{Addr: server.Addr(), Kind: job.kind, Rule: job.rule, Phase: job.phase, Big: sweep.BigNow, Page: page}
					var rate, cpu float64
					_, seen := during(b, server, func() float64 {
						rate, _, cpu = child.process(b, client, n, 10*time.Minute)
						return rate
					})
					b.ReportMetric(rate, "keys/s")
					b.ReportMetric(float64(seen.perKey(rate, observed{})), "server-ns/key")
					b.ReportMetric(cpu/rate*1e9, "sweep-ns/key")
					b.ReportMetric(float64(seen.p99.Microseconds())/1000, "p99-ms")
				}
			})
		}
	}
}
