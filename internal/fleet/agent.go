package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Engine is what an agent steers: the connections of its instance. Phases and reasons have one entry
// for each rule of the plan, in its order.
type Engine interface {
	// Follow takes the rules to phases that may stand beside those of now, and returns when no command
	// of an earlier phase is under way. What holds it up for too long is given up or cut.
	Follow(ctx context.Context, phases []phase.Phase) error
	// Shut makes commands of rules answer with an error; "" lets them pass.
	Shut(reasons []string)
	// Reset closes all connections, returns when nothing of them can run any more, and takes the rules
	// to phases however far away they are.
	Reset(ctx context.Context, phases []phase.Phase, reason error) error
	// Used counts the reads of a rule, and those that fell back to the legacy name.
	Used(rule int) (reads, fallbacks uint64)
	// Behind says what is still under way from an earlier phase, "" where nothing is.
	Behind() string
	// Readmit asks [Agent.Admit] again for the connections that went on without being in the records.
	Readmit()
}

// AgentConfig is what an agent is made of.
type AgentConfig struct {
	Plan    *plan.Plan
	Engine  Engine
	Name    string // of the instance, for people
	Version string // of the program
	Logger  *slog.Logger
	Now     func() time.Time // a clock that does not jump; default time.Now
}

// Agent is the instance's side of the fleet: it holds the lease, follows the targets and says what was
// reached. It decides nothing.
type Agent struct {
	AgentConfig
	store *Store
	wake  chan struct{}
	stop  context.CancelFunc
	work  sync.WaitGroup

	closing sync.Once
	closed  error

	mu       sync.Mutex
	self     Instance
	lease    Lease
	followed []Target // by rule, what the engine is at or on its way to; Epoch "": nothing
	reached  []Target // by rule, what is reported
	broken   []string // by rule, why its target is not followed
	shut     bool     // because of the lease
	why      error    // the renewal that failed last
	gone     []string // connections that are closed
	moving   bool     // the engine is on its way
	// stopMoving ends that and waits for its end; nil before the first time.
	stopMoving func()
}

// ErrRestore says that the control records do not fit what the instance or the keys know.
var ErrRestore = errors.New("rekey: the control records are gone or turned back; look with rekey status and set them with rekey restore-phase")

// JoinAgent joins the fleet. The phases that it gives are those to begin with; nothing may have been
// sent before. Start begins to renew the lease and to speak to the engine; Close ends it.
func JoinAgent(ctx context.Context, c AgentConfig) (*Agent, []phase.Phase, error) {
	o, err := Options(c.Plan.Server)
	if err != nil {
		return nil, nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{AgentConfig: c, wake: make(chan struct{}, 1), stop: func() {}}
	o.ReadTimeout, o.WriteTimeout, o.DialTimeout = c.Plan.Fleet.Renew, c.Plan.Fleet.Renew, c.Plan.Fleet.Renew
	o.ContextTimeoutEnabled = true
	a.store = NewStore(c.Plan, Client(o, c.Plan.Databases[0]))
	phases, err := a.join(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, a.store.client.Close())
	}
	return a, phases, nil
}

// Start begins the agent's work.
func (a *Agent) Start() {
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.work.Go(func() { a.listen(ctx) })
	a.work.Go(func() { a.run(ctx) })
}

// RunID gives the run id of a server. A server that does not tell it (an embedded one, or a user without
// +info) is "?" to everybody.
func RunID(ctx context.Context, c interface {
	Info(context.Context, ...string) *redis.StringCmd
}) (string, error) {
	info, err := c.Info(ctx, "server").Result()
	var reply redis.Error
	if errors.As(err, &reply) {
		return "?", nil
	}
	if err != nil {
		return "", fmt.Errorf("rekey: ask the server for its run id: %w", err)
	}
	_, rest, found := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	if !found || id == "" {
		return "?", nil
	}
	return id, nil
}

// newInstance is the record of this process.
func newInstance(p *plan.Plan, name, version string, now time.Time) Instance {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Instance{
		Lease: p.Fleet.Lease.Microseconds(), ID: newID(), Name: name, Host: host, PID: os.Getpid(),
		Version: version, Format: Format, Started: now.UTC(), Rules: make(map[string]RuleState, len(p.Rules)),
	}
}

// join enters the fleet as a new instance, and takes its targets.
func (a *Agent) join(ctx context.Context) ([]phase.Phase, error) {
	rules := a.Plan.Rules
	a.self = newInstance(a.Plan, a.Name, a.Version, a.Now())
	a.followed, a.reached, a.broken = make([]Target, len(rules)), make([]Target, len(rules)), make([]string, len(rules))
	for i, r := range rules {
		a.self.Rules[r.Name] = RuleState{Hash: a.Plan.Hash(i), Mark: Mark{-1, -1}}
	}
	began := a.Now()
	if _, err := a.store.Join(ctx, &a.self); err != nil {
		return nil, err
	}
	targets, err := a.begin(ctx)
	if err != nil {
		return nil, errors.Join(err, a.store.Leave(context.WithoutCancel(ctx), a.self.ID))
	}
	phases := make([]phase.Phase, len(rules))
	for i, r := range rules {
		a.followed[i], a.reached[i] = targets[r.Name], targets[r.Name]
		phases[i] = targets[r.Name].Phase
	}
	a.lease = NewLease(began, a.Plan.Fleet.Lease, a.Plan.Fleet.Margin)
	a.wakeUp() // to report what was reached
	return phases, nil
}

func (a *Agent) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default: // it will look already
	}
}

// Parting says how an agent ends.
type Parting bool

const (
	// Leave removes the instance's record: its connections are closed and run nothing any more.
	Leave Parting = true
	// StayRecorded lets the record's lease run out, for a controller to close the connections.
	StayRecorded Parting = false
)

// Close ends the agent. It may be called more than once, and gives what the first call did.
func (a *Agent) Close(how Parting) error {
	a.closing.Do(func() {
		a.stop()
		a.work.Wait()
		if how == Leave {
			ctx, cancel := context.WithTimeout(context.Background(), a.Plan.Fleet.Renew)
			defer cancel()
			a.closed = a.store.Leave(ctx, a.self.ID)
		}
		a.closed = errors.Join(a.closed, a.store.client.Close())
	})
	return a.closed
}
