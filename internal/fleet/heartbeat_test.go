package fleet_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// heartbeatPlan has as many rules as a large application, and the default lease: a renewal each 5 seconds.
func heartbeatPlan(b *testing.B) *plan.Plan {
	text := "version: 1\nenvironment: bench\nrules:\n"
	for i := range 11 {
		text += fmt.Sprintf("  - {name: rule-%d, legacy: \"r%d:{id}\", target: \"cw:{env}:r%d:{id}\"}\n", i, i, i)
	}
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkHeartbeat is what fleets of some sizes cost the server that holds their records: instances with a
// connection each renew their leases as the plan says, spread over its interval, and do nothing else. It
// prints a line of the table in docs/fleet.md for each size.
func BenchmarkHeartbeat(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("instances=%d", n), func(b *testing.B) { heartbeat(b, n) })
	}
}

func heartbeat(b *testing.B, instances int) {
	p := heartbeatPlan(b)
	server := redistest.Start(b)
	admin := server.Client()
	store := fleet.NewStore(p, admin)
	hashes := make(map[string]string)
	for i, r := range p.Rules {
		hashes[r.Name] = p.Hash(i)
	}
	if _, err := store.Found(b.Context(), "epoch", hashes, "bench"); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var work sync.WaitGroup
	joined := make(chan struct{}, instances)
	for i := range instances {
		work.Go(func() { beat(ctx, b, p, server, i, instances, joined) })
	}
	for range instances {
		<-joined
	}
	// A whole interval of all of them, or as many as there are iterations.
	before, began := usage(b, admin), time.Now()
	b.ResetTimer()
	for range b.N {
		time.Sleep(p.Fleet.Renew)
	}
	b.StopTimer()
	after, took := usage(b, admin), time.Since(began).Seconds()
	stop()
	work.Wait()
	b.ReportMetric((after.renewals-before.renewals)/took, "renewals/s")
	b.ReportMetric((after.commands-before.commands)/took, "commands/s")
	b.ReportMetric(100*(after.cpu-before.cpu)/took, "%cpu")
	b.ReportMetric((after.net-before.net)/took/1024, "KiB/s")
	b.ReportMetric(float64(recordBytes(b, admin, store.Keys())), "B/instance")
}

// beat is one instance: its own connection, its own turn in the interval.
func beat(ctx context.Context, b *testing.B, p *plan.Plan, server *redistest.Server, i, of int, joined chan<- struct{}) {
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 1, DialTimeout: time.Minute})
	defer func() { _ = c.Close() }() // nothing is buffered
	store := fleet.NewStore(p, c)
	self := fleet.Instance{
		Lease: p.Fleet.Lease.Microseconds(), ID: fmt.Sprintf("instance-%d", i), Name: "classroom", Host: "host-" + strconv.Itoa(i), PID: 4711,
		Version: "1.4.2", Format: fleet.Format, Started: time.Now(), Rules: make(map[string]fleet.RuleState),
	}
	for r, rule := range p.Rules {
		self.Rules[rule.Name] = fleet.RuleState{Hash: p.Hash(r), Phase: phase.Legacy, Epoch: "epoch", Reads: 123456789}
	}
	_, err := store.Join(ctx, &self)
	joined <- struct{}{}
	if err != nil {
		b.Errorf("join: %v", err)
		return
	}
	timer := time.NewTimer(p.Fleet.Renew * time.Duration(i) / time.Duration(of))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(p.Fleet.Renew)
		if _, err := store.Renew(ctx, &self, nil); err != nil && ctx.Err() == nil {
			b.Errorf("renew: %v", err)
			return
		}
	}
}

// used is what a server has done and taken so far.
type used struct{ renewals, commands, cpu, net float64 }

func usage(b *testing.B, c *redis.Client) (u used) {
	info, err := c.Info(b.Context(), "everything").Result()
	if err != nil {
		b.Fatal(err)
	}
	number := func(text string) float64 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatalf("INFO says %q", text)
		}
		return f
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user":
			u.cpu += number(value)
		case "total_commands_processed":
			u.commands = number(value)
		case "total_net_input_bytes", "total_net_output_bytes":
			u.net += number(value)
		case "cmdstat_evalsha":
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			u.renewals = number(calls)
		}
	}
	return u
}

// recordBytes is how much memory one instance's record takes.
func recordBytes(b *testing.B, c *redis.Client, keys fleet.Keys) int64 {
	all, err := c.MemoryUsage(b.Context(), keys.Fleet(), 0).Result()
	if err != nil {
		b.Fatal(err)
	}
	n, err := c.HLen(b.Context(), keys.Fleet()).Result()
	if err != nil {
		b.Fatal(err)
	}
	return all / n
}
