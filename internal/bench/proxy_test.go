package bench

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

const proxyPlan = `
version: 1
environment: bench
server: {url: "%s", evicts: false}
rules:
  - {name: sessions, legacy: "%[2]s:session:{id}", target: "cw:{env}:%[2]s:session:{id}", strategy: mirror}
`

// load is how redis-benchmark sends its commands, and how many make a round of a fraction of a second.
type load struct{ clients, pipeline, requests int }

var loads = []load{{50, 1, 30_000}, {50, 16, 200_000}, {1, 1, 5_000}}

func (l load) String() string { return fmt.Sprintf("-c %d -P %d", l.clients, l.pipeline) }

// way is one way to the server: directly, through nutcracker or through a proxy of ours in a phase.
type way struct {
	name string
	addr string
	keys string // the first word of its keys, of which every proxy has its own
	pid  int    // of the proxy; 0: there is none
}

// BenchmarkProxy prints redis-benchmark's figures for the program `rekey proxy`, in every phase of a
// fleet's walk, beside those of the server itself and of nutcracker in the same rounds, as a table of
// Markdown. It lasts minutes, whatever -benchtime says; REKEY_BENCH_ROUNDS=3 is a first look.
func BenchmarkProxy(b *testing.B) {
	server := redistest.Start(b)
	serverPID := infoPID(b, server)
	ways := []way{{name: "direct", addr: server.Addr(), keys: "bare"}, startNutcracker(b, server.Addr(), "bare")}
	fill(b, ways[0])
	program := buildRekey(b)
	for _, ph := range phase.Walk(phase.Mirror) {
		w := startProxy(b, program, server.URL(), ph)
		fill(b, w)
		ways = append(ways, w)
	}
	fmt.Println("| redis-benchmark | through | commands/s | x direct | x nutcracker | p50: x direct, x nutcracker | p99: x direct, x nutcracker " +
		"| server, µs per command | x direct | proxy, µs per command |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, l := range loads {
		for _, command := range []string{"SET", "GET"} {
			proxyRows(b, serverPID, ways, l, command)
		}
	}
}

// setting is a number that the environment may change.
func setting(b *testing.B, name string, value int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s is no number above 0", name, text)
	}
	return n
}

// fill writes every key, so that its names are those of the phase.
func fill(b *testing.B, w way) {
	rdb := redis.NewClient(&redis.Options{Addr: w.addr, MaxRetries: -1, ReadTimeout: 30 * time.Second})
	defer func() { _ = rdb.Close() }()
	for i := range keys {
		if err := rdb.Set(b.Context(), fmt.Sprintf("%s:session:%012d", w.keys, i), value, 0).Err(); err != nil {
			b.Fatalf("%s: %v", w.name, err)
		}
	}
}

// proxyRows measures one command under one load, each way in each round, and prints a row for each way.
func proxyRows(b *testing.B, serverPID int, ways []way, l load, command string) {
	const direct, nutcracker = 0, 1
	each := make([][]run, setting(b, "REKEY_BENCH_ROUNDS", rounds))
	for _, w := range ways {
		redisBenchmark(b, w, l, command) // connections and caches warm
	}
	spent := make([]struct{ server, proxy, commands float64 }, len(ways))
	for r := range each {
		for i, w := range ways {
			server, proxy := cpu(b, serverPID), cpu(b, w.pid)
			each[r] = append(each[r], redisBenchmark(b, w, l, command))
			spent[i].server += cpu(b, serverPID) - server
			spent[i].proxy += cpu(b, w.pid) - proxy
			spent[i].commands += float64(l.requests)
		}
	}
	for i, w := range ways {
		to := func(base int, figure func(run) float64) ratio {
			var all []float64
			for _, runs := range each {
				all = append(all, figure(runs[i])/figure(runs[base]))
			}
			return ratioOf(all)
		}
		var perSecond []float64
		for _, runs := range each {
			perSecond = append(perSecond, runs[i].perSecond)
		}
		server := 1e6 * spent[i].server / spent[i].commands
		fmt.Printf("| `%v` %s | %s | %.0f | %v | %v | %.2f, %.2f | %.2f, %.2f | %.1f | %.2f | %.1f |\n",
			l, command, w.name, ratioOf(perSecond).median, to(direct, run.throughput), to(nutcracker, run.throughput),
			to(direct, run.median).median, to(nutcracker, run.median).median, to(direct, run.tail).median, to(nutcracker, run.tail).median,
			server, spent[i].server/spent[direct].server, 1e6*spent[i].proxy/spent[i].commands)
	}
}
