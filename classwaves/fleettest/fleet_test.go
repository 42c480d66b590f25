//go:build postgres

package fleettest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/load"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// environment is the fleet's: the programs are told it as production is.
const environment = "fleettest"

// stage is where the two sets of flags are.
type stage struct{ cache, limiter phase.Phase }

func (s stage) of(strategy phase.Strategy) phase.Phase {
	if strategy == phase.Mirror {
		return s.cache
	}
	return s.limiter
}

func (s stage) String() string { return fmt.Sprintf("%v and %v", s.cache, s.limiter) }

// fleet is four servers behind a balancer.
type fleet struct {
	t *testing.T
	stores
	plan       *plan.Plan
	sessionKey string
	gated      bool
	limits     []string
	processes  []*process
	balancer   *httptest.Server
	next       atomic.Uint64
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
func newFleet(t *testing.T, gated bool, config ...string) *fleet {
	t.Helper()
	p, err := classwaves.Plan(environment)
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	f := &fleet{
		t: t, stores: startStores(t, config...), plan: p, gated: gated, limits: loadLimits,
		sessionKey: "k1:" + base64.StdEncoding.EncodeToString(key),
	}
	return f
}

// serve starts the servers, one at each stage, and the balancer.
func (f *fleet) serve(at ...stage) {
	f.t.Helper()
	for _, s := range at {
		p := f.startProcess(s)
		f.processes = append(f.processes, p)
		if err := p.reached(f, s); err != nil {
			f.t.Fatalf("server %d: %v\n%s", p.n, err, p.tail())
		}
	}
	f.balancer = httptest.NewServer(f.balance())
	f.t.Cleanup(f.balancer.Close)
}

// balance gives each request to the next server.
func (f *fleet) balance() http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 20 * time.Second, DisableCompression: true}
	f.t.Cleanup(transport.CloseIdleConnections)
	var targets []*url.URL
	for _, p := range f.processes {
		u, err := url.Parse(p.url)
		if err != nil {
			f.t.Fatal(err)
		}
		targets = append(targets, u)
	}
	return &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the load sees what was answered
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(targets[f.next.Add(1)%uint64(len(targets))])
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
	}
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

// prove runs the sweeps of all gates between two stages, with the program, while the load goes on.
func (f *fleet) prove(from, to stage) {
	f.t.Helper()
	for _, strategy := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		a, b := from.of(strategy), to.of(strategy)
		if a == b {
			continue
		}
		step, ok := phase.StepBetween(strategy, a, b)
		if !ok {
			f.t.Fatalf("there is no step from %v to %v", a, b)
		}
		for _, gate := range append(step.Gates, step.Asked...) {
			switch {
			case gate.Sweep() == "": // counted by the processes
			case gate == phase.NoLegacy && a == phase.Drain:
				// What only the legacy name holds gets its target first; cleanup would name it and leave it.
				f.sweep("backfill", strategy, a)
				f.sweep(gate.Sweep(), strategy, a)
			default:
				f.sweep(gate.Sweep(), strategy, a)
			}
		}
	}
}

// sweep runs one sweep over all rules of a strategy.
func (f *fleet) sweep(kind string, strategy phase.Strategy, at phase.Phase) {
	f.t.Helper()
	args := []string{kind}
	for _, r := range f.plan.Rules {
		if r.Strategy == strategy {
			args = append(args, r.Name)
		}
	}
	args = append(args, "--assume-phase", at.String())
	switch kind {
	case "purge", "cleanup":
		args = append(args, "--execute")
	}
	if kind == "cleanup" && at == phase.Sealed {
		args = append(args, "--remove-strays")
	}
	// A gate may want another look where keys changed under the sweep all the time.
	var err error
	for range 3 {
		if err = f.rekey(args...); err == nil {
			return
		}
	}
	f.t.Fatal(err)
}

// rekey runs the operator's program.
func (f *fleet) rekey(args ...string) error {
	all := append([]string{"-f", filepath.Join("..", "rekey.yaml"), "--env", environment, "--redis", f.redis.URL(), "--json"}, args...)
	cmd := exec.CommandContext(f.t.Context(), program(f.t, "rekey"), all...)
	cmd.Env = bareEnvironment()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && args[0] == "verify" && settled(out.Bytes()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rekey %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return nil
}

// settled says whether all that verify found is keys that changed each time that it looked.
func settled(out []byte) bool {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var result struct {
			Type     string
			Problems map[string]int
		}
		if json.Unmarshal(lines.Bytes(), &result) != nil {
			return false
		}
		delete(result.Problems, "unsettled")
		if len(result.Problems) > 0 {
			return false
		}
	}
	return true
}

// names counts the keys of the plan's rules by side.
func (f *fleet) names() (legacy, target int) {
	f.t.Helper()
	all := f.redis.Client().Scan(f.t.Context(), 0, "*", 1000).Iterator()
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

// fallbacks are the reads that found a value under its legacy name, of all servers and services.
func (f *fleet) fallbacks() (n uint64) {
	f.t.Helper()
	for _, p := range f.processes {
		m, err := p.metrics()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, v := range m.LegacyFallbacks {
			n += v
		}
	}
	return n
}
