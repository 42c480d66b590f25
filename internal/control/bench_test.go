package control_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// BenchmarkWaiting is what a controller reads while it waits for a large fleet, with 11 rules: for half a minute nobody
// reaches the target. It prints the number of docs/fleet.md.
func BenchmarkWaiting(b *testing.B) {
	const instances, waits = 1000, 30 * time.Second
	text := "version: 1\nenvironment: bench\nrules:\n"
	for i := range 11 {
		text += fmt.Sprintf("  - {name: rule-%d, legacy: \"r%d:{id}\", target: \"cw:{env}:r%d:{id}\"}\n", i, i, i)
	}
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	client := redistest.Start(b).Client()
	store := fleet.NewStore(p, client)
	hashes := make(map[string]string)
	rules := make(map[string]fleet.RuleState)
	for i, r := range p.Rules {
		hashes[r.Name] = p.Hash(i)
		rules[r.Name] = fleet.RuleState{Hash: p.Hash(i), Phase: phase.Legacy, Epoch: "epoch", Mark: fleet.Mark{Gen: -1}, Reads: 123456789}
	}
	if _, err := store.Found(b.Context(), "epoch", hashes, "bench"); err != nil {
		b.Fatal(err)
	}
	for i := range instances {
		if _, err := store.Join(b.Context(), &fleet.Instance{
			Lease: time.Hour.Microseconds(), ID: fmt.Sprintf("instance-%d", i), Name: "classroom", Host: "host-" + strconv.Itoa(i), PID: 4711,
			Version: "1.4.2", Format: fleet.Format, Started: time.Now(), Rules: rules,
		}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		before := sent(b, client)
		c, err := control.Open(b.Context(), p, control.Options{Client: client, Patience: waits})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Run(b.Context(), []string{"rule-1"}, phase.Guard); err == nil {
			b.Fatal("it did not wait")
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((sent(b, client)-before)/waits.Seconds()/1024, "KiB/s")
	}
}

// sent is how many bytes a server has sent.
func sent(b *testing.B, c *redis.Client) float64 {
	_, rest, _ := strings.Cut(c.Info(b.Context(), "stats").Val(), "total_net_output_bytes:")
	text, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
