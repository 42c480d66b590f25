package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classwaves/rekey/phase"
)

// workersPerInstance send commands one after the other, each as fast as it is answered.
const workersPerInstance = 2

// maxViolations is how many are kept for the report, of each fault; of each command and kind of keys
// the first.
const maxViolations = 20

// Violation is a reply that was not what it had to be.
type Violation struct {
	Fault    string // lost, stale, revived
	At       time.Duration
	Instance string
	Phase    phase.Phase
	Rule     string
	Command  string
	Key      string // the application's name for it
	Want     string
	Got      string
}

func (v Violation) String() string {
	return fmt.Sprintf("%-7s  %4.1f s  %s in %s: %s %s says %s, must be %s", v.Fault, v.At.Seconds(), v.Instance, v.Phase, v.Command, v.Key, v.Got, v.Want)
}

// counts is what the whole traffic counts. The keys that are checked are in here, not in the walk.
type counts struct {
	begin  time.Time
	ops    atomic.Int64
	faults [len(faultNames)]atomic.Int64

	mu         sync.Mutex
	violations [len(faultNames)][]Violation
}

// wrong is how many violations there were.
func (c *counts) wrong() int64 {
	return c.faults[lost].Load() + c.faults[stale].Load() + c.faults[revived].Load()
}

func (c *counts) violated(f fault, v Violation) {
	c.faults[f].Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.ContainsFunc(c.violations[f], func(o Violation) bool { return o.Rule == v.Rule && o.Command == v.Command })
	if !known && len(c.violations[f]) < maxViolations {
		c.violations[f] = append(c.violations[f], v)
	}
}

// session is one worker's way to the server: through its instance, measured and judged.
type session struct {
	instance instance
	random   *rand.Rand
	counts   *counts
	clock    *clock
	latency  *[phase.Count]histogram
	ops      *[phase.Count]int64
	quiet    bool // violations are not counted
}

func newSession(i instance, random *rand.Rand, c *counts, t *clock) *session {
	return &session{instance: i, random: random, counts: c, clock: t,
		latency: new([phase.Count]histogram), ops: new([phase.Count]int64)}
}

// silent is the session for putting a model right after a violation that was counted.
func (s *session) silent() *session {
	quiet := *s
	quiet.quiet = true
	return &quiet
}

// send sends a batch and measures it. It is not interrupted: whether a command that was given up
// had run, nobody would know. The clients' own timeouts end what a server does not answer.
func (s *session) send(k *kind, b batch) ([]reply, span, error) {
	p := s.instance.phase(k)
	at := span{start: s.clock.before()}
	sent := time.Now()
	replies, err := s.instance.do(context.Background(), b)
	took := time.Since(sent)
	at.end = s.clock.after()
	if err == nil && len(replies) != len(b.commands) {
		err = fmt.Errorf("%s: %d replies to %d commands", b.commands[0][0], len(replies), len(b.commands))
	}
	if err != nil {
		return nil, at, err
	}
	s.latency[p].add(took)
	s.ops[p] += int64(len(b.commands))
	s.counts.ops.Add(int64(len(b.commands)))
	s.instance.count(int64(len(b.commands)))
	return replies, at, nil
}

// judge counts what is wrong with a reply, if anything is.
func (s *session) judge(k *kind, command, key string, v verdict) {
	if v.fault == 0 || s.quiet {
		return
	}
	s.counts.violated(v.fault, Violation{
		Fault: v.fault.String(), At: time.Since(s.counts.begin), Instance: s.instance.name(), Phase: s.instance.phase(k),
		Rule: k.rule, Command: command, Key: key, Want: v.want, Got: v.got,
	})
}

// work is a worker: one use of one key after the other until ctx is done.
func (s *session) work(ctx context.Context, ks *keyspace) error {
	for ctx.Err() == nil {
		c, u := ks.pick(s)
		if c.kind.rule == "tag_versions" { // nobody's: all count at once
			if err := u.do(c, s); err != nil {
				return err
			}
			continue
		}
		if !c.mu.TryLock() {
			continue // somebody else's at the moment
		}
		err := u.do(c, s)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
