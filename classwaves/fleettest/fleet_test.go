package fleettest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// environment is the fleet's: the programs are told it as production is.
const environment = "fleettest"

// fleet is four servers behind a balancer.
type fleet struct {
	t *testing.T
	stores
	plan      *plan.Plan
	settings  map[string]string // of every server
	limits    []string
	started   int
	processes []*process
	balancer  *balancer
}

// size is how many servers there are.
const size = 4

// loadLimits are the servers' limits: the prober spends one of them, the others are as wide as a load on
// two cores wants them.
var loadLimits = []string{"general=1000000/1h/1h", "auth=1000/1h/1h", "write=1000000/1h/1h", "join=20/1h/1h"}

// probe is the limit that is spent, by some in no time and by others in as long as the test takes.
func probe(over time.Duration) []load.Probe {
	return []load.Probe{{Limit: "join", Points: 20, Window: time.Hour, Block: time.Hour, Users: 5, Over: over}}
}

// newFleet starts the stores and no server.
func newFleet(t *testing.T, config ...string) *fleet {
	t.Helper()
	p, err := classwaves.Plan(environment)
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	f := &fleet{t: t, stores: startStores(t, config...), plan: p, limits: loadLimits}
	f.settings = map[string]string{
		"CW_ENV": environment, "CW_SESSION_KEYS": "k1:" + base64.StdEncoding.EncodeToString(key), "CW_CACHE_EPOCHS_ENABLED": "1",
		"CW_REDIS_URL": f.redis.URL(), "CW_DATABASE_URL": f.database,
	}
	return f
}

// start starts a server. What it is told is all in its env file, beside the options.
func (f *fleet) start(flags map[string]string, options ...string) *process {
	f.t.Helper()
	settings := maps.Clone(f.settings)
	maps.Copy(settings, flags)
	for _, l := range f.limits {
		options = append(options, "--limit", l)
	}
	f.started++
	return startProcess(f.t, f.started, settings, options...)
}

// open puts the balancer before servers.
func (f *fleet) open(servers ...*process) {
	f.t.Helper()
	f.processes = servers
	f.balancer = newBalancer(f.t, servers)
}

// play begins a load; the function that it gives ends it and reports.
func (f *fleet) play(c load.Config) (*load.Generator, func() load.Report) {
	f.t.Helper()
	c.URL, c.Email, c.Password = f.balancer.URL, email, password
	if c.Teachers == 0 {
		c.Teachers = 4
	}
	g, err := load.New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Logf("load with seed %d", g.Seed())
	ctx, cancel := context.WithCancel(f.t.Context())
	type outcome struct {
		report load.Report
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := g.Run(ctx)
		done <- outcome{r, err}
	}()
	f.t.Cleanup(cancel)
	return g, func() load.Report {
		f.t.Helper()
		cancel()
		o := <-done
		if o.err != nil {
			f.t.Fatal(o.err)
		}
		return o.report
	}
}

// stay lets the load go on until a time, and until it has done something.
func (f *fleet) stay(g *load.Generator, until time.Time) {
	f.t.Helper()
	const least = 60
	before := g.Report().Ops
	err := poll(time.Until(until)+stepWithin, "the load goes on", func() (bool, error) {
		return time.Now().After(until) && g.Report().Ops >= before+least, nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// rekey runs the operator's program, and gives what it printed.
func (f *fleet) rekey(args ...string) (string, error) { return f.operator(args...).wait() }

// names counts the keys of the plan's rules by side. It leaves no connection behind: to an audit it
// would be a stranger.
func (f *fleet) names() (legacy, target int) {
	f.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	defer client.Close()
	all := client.Scan(f.t.Context(), 0, "*", 1000).Iterator()
	for all.Next(f.t.Context()) {
		switch rule, isTarget := f.plan.Names().Find([]byte(all.Val())); {
		case rule < 0:
		case isTarget:
			target++
		default:
			legacy++
		}
	}
	if err := all.Err(); err != nil {
		f.t.Fatal(err)
	}
	return legacy, target
}

// reached waits until every server has every rule in the phase that want gives it.
func (f *fleet) reached(want func(plan.Rule) phase.Phase) {
	f.t.Helper()
	for _, p := range f.processes {
		if err := p.reached(f.plan, want); err != nil {
			f.t.Fatalf("server %d: %v\n%s", p.n, err, p.tail())
		}
	}
}

// metric sums a metric over all servers and over its labels; where labels are given, over those with them.
func (f *fleet) metric(name string, labels ...string) (sum float64) {
	f.t.Helper()
	for _, p := range f.processes {
		err := p.get("/metrics", func(r *http.Response) error {
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				rest, ok := strings.CutPrefix(lines.Text(), name)
				for _, l := range labels {
					ok = ok && strings.Contains(rest, l)
				}
				if ok && (rest[0] == '{' || rest[0] == ' ') {
					v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
					if err != nil {
						return err
					}
					sum += v
				}
			}
			return lines.Err()
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return sum
}
