package sweep_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/sweep"
)

// asked is what some names are asked.
type asked func(names []string) [][]string

// each asks every name by a command, or by some.
func each(words ...func(name string) []string) asked {
	return func(names []string) [][]string {
		out := make([][]string, 0, len(words)*len(names))
		for _, n := range names {
			for _, of := range words {
				out = append(out, of(n))
			}
		}
		return out
	}
}

// all asks them by one command.
func all(word string, of func(name string) string) asked {
	return func(names []string) [][]string {
		out := []string{word}
		for _, n := range names {
			out = append(out, of(n))
		}
		return [][]string{out}
	}
}

func itself(name string) string { return name }

// blast sends commands for all keys, in the order of SCAN, as fast as the server takes them and without looking at an answer,
// and returns the keys per second: what there is to reach.
func blast(b *testing.B, server *redistest.Server, prefix string, asked ...asked) (rate float64, seen observed) {
	b.Helper()
	var names []string
	c := server.Client()
	for scan := c.Scan(b.Context(), 0, prefix+"*", 10_000).Iterator(); scan.Next(b.Context()); {
		names = append(names, scan.Val())
	}
	var pages [][]byte
	for names := range slices.Chunk(names, sweep.DefaultPage) {
		var page []byte
		for _, of := range asked {
			for _, words := range of(names) {
				page = resp.AppendArrayHeader(page, len(words))
				for _, w := range words {
					page = resp.AppendBulkString(page, w)
				}
			}
		}
		pages = append(pages, page)
	}
	return during(b, server, func() float64 { return float64(len(names)) / send(b, server, pages).Seconds() })
}

// send sends pages and waits until all answers are there.
func send(b *testing.B, server *redistest.Server, pages [][]byte) time.Duration {
	b.Helper()
	conn, ok := server.Dial().(*net.TCPConn)
	if !ok {
		b.Fatal("no connection that can be closed on one side")
	}
	defer conn.Close()
	begun := time.Now()
	go func() {
		for _, page := range pages {
			if _, err := conn.Write(page); err != nil {
				b.Error(err)
				break
			}
		}
		_ = conn.CloseWrite() // the server answers everything, then it closes its side
	}()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

// The foreground is fifty connections that ask for a key fifty times a second each, as applications would.
const (
	foregroundConns = 50
	foregroundEvery = 20 * time.Millisecond
)

// observed is what was seen while something ran: how long the foreground waited, and how busy the server was.
type observed struct {
	p99 time.Duration
	cpu float64 // of one core
}

// perKey is the server's time for a key, without what it takes while it is idle but for the foreground.
func (o observed) perKey(rate float64, idle observed) time.Duration {
	return time.Duration((o.cpu - idle.cpu) / rate * float64(time.Second))
}

// during returns what work returns, and what was seen meanwhile.
func during(b *testing.B, server *redistest.Server, work func() float64) (result float64, seen observed) {
	b.Helper()
	c := server.Client(func(o *redis.Options) { o.PoolSize = foregroundConns + 1 })
	ctx := context.WithoutCancel(b.Context())
	stop := make(chan struct{})
	var mu sync.Mutex
	var took []time.Duration
	var clients sync.WaitGroup
	for i := range foregroundConns {
		clients.Go(func() {
			conn := c.Conn()
			defer conn.Close()
			_ = conn.Ping(ctx).Err() // makes the connection, which is not measured
			var mine []time.Duration
			time.Sleep(foregroundEvery / foregroundConns * time.Duration(i))
			ticker := time.NewTicker(foregroundEvery)
			defer ticker.Stop()
			for {
				select {
				case <-stop:
					mu.Lock()
					defer mu.Unlock()
					took = append(took, mine...)
					return
				case <-ticker.C:
					begun := time.Now()
					_ = conn.Get(ctx, "somebody:else").Err() // there is no such key
					mine = append(mine, time.Since(begun))
				}
			}
		})
	}
	before, begun := serverCPU(b, c), time.Now()
	result = work()
	seen.cpu = (serverCPU(b, c) - before) / time.Since(begun).Seconds()
	close(stop)
	clients.Wait()
	slices.Sort(took)
	if len(took) > 0 {
		seen.p99 = took[len(took)*99/100]
	}
	_ = c.Close() // only read
	return result, seen
}

// scanTime is the processor time that the server has spent in SCAN, as it counts it.
func scanTime(b *testing.B, c *redis.Client) time.Duration {
	b.Helper()
	info, err := c.Info(b.Context(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "cmdstat_scan:")
	_, rest, _ = strings.Cut(rest, "usec=")
	text, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.ParseInt(text, 10, 64) // 0: it was not asked yet
	return time.Duration(n) * time.Microsecond
}

// serverCPU is the seconds of processor time that the server has used.
func serverCPU(b *testing.B, c *redis.Client) (seconds float64) {
	b.Helper()
	info, err := c.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += n
		}
	}
	return seconds
}
