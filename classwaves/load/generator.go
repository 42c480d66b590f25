package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Generator plays. It is used once.
type Generator struct {
	c         Config
	record    *record
	addresses *addresses
	registry  registry

	once sync.Once
}

// New checks the configuration. It starts nothing.
func New(c Config) (*Generator, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	return &Generator{c: c, record: newRecord(), addresses: newAddresses(c.ownAddresses())}, nil
}

// Seed is the seed of the play.
func (g *Generator) Seed() uint64 { return g.c.Seed }

// Report is what there is until now; it may be called while Run runs.
func (g *Generator) Report() Report { return g.record.report(g.c.Seed) }

// graceTime is how long users have at the end to look at everything once more and to log out.
const graceTime = time.Minute

// Run plays until the duration is over or ctx ends, looks at everything once more, and reports. The
// error is for a play that could not begin; what the server does wrong is in the report.
func (g *Generator) Run(ctx context.Context) (Report, error) {
	first := false
	g.once.Do(func() { first = true })
	if !first {
		return Report{}, errors.New("load: a Generator is used once")
	}
	g.record.begin()
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	if g.c.Duration > 0 {
		stop, cancel = context.WithTimeout(ctx, g.c.Duration)
		defer cancel()
	}
	// Requests outlive the play by the grace: a request that is cut off leaves open what happened.
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	late := context.AfterFunc(stop, func() { time.AfterFunc(graceTime, end) })
	defer late()

	teachers := make([]*teacher, g.c.Teachers)
	for i := range teachers {
		teachers[i] = g.newTeacher(i)
	}
	if !g.c.Faults {
		// Whoever cannot log in at all has given the wrong password, which is no violation.
		if err := teachers[0].tryLogin(requests); err != nil {
			return g.Report(), err
		}
	}
	var users sync.WaitGroup
	for _, t := range teachers {
		users.Go(func() { t.play(requests, stop.Done()) })
	}
	for i, p := range g.c.Probes {
		for user := range p.Users {
			users.Go(func() { g.newProber(p, i, user).play(requests, stop.Done()) })
		}
	}
	users.Wait()
	return g.Report(), nil
}

// random is the choices of one user.
func (g *Generator) random(user int) *rand.Rand { return rand.New(rand.NewPCG(g.c.Seed, uint64(user))) }

// email is a teacher's account.
func (g *Generator) email(i int) string {
	return strings.ReplaceAll(g.c.Email, "%d", fmt.Sprint(i+1))
}

// rest waits as long as a user thinks, about the mean; false when the play is over.
func (g *Generator) rest(rng *rand.Rand, stop <-chan struct{}) bool {
	return wait(stop, time.Duration(float64(max(g.c.Pause, 0))*(0.5+rng.Float64())))
}

// wait waits; false when it was ended before.
func wait(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
}

// registry is the class sessions of all teachers, for those who look at what is not theirs.
type registry struct {
	mu      sync.Mutex
	classes []*class
	codes   map[string]*class // of those that are not known to be ended
}

// registryMax bounds what is remembered; the oldest go.
const registryMax = 500

// add notes a class. It gives the other one that has the same code, if there is one.
func (r *registry) add(c *class) (same *class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.classes = append(r.classes, c)
	if len(r.classes) > registryMax {
		r.classes = r.classes[1:]
	}
	if r.codes == nil {
		r.codes = make(map[string]*class)
	}
	same = r.codes[c.code]
	r.codes[c.code] = c
	return same
}

// free notes that a class's code leads nowhere.
func (r *registry) free(c *class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.codes[c.code] == c {
		delete(r.codes, c.code)
	}
}

// byCode is the class that has a code now.
func (r *registry) byCode(code string) *class {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codes[code]
}

// foreign is a class of another teacher, nil if there is none.
func (r *registry) foreign(rng *rand.Rand, teacher int) *class {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 8 {
		if len(r.classes) == 0 {
			return nil
		}
		if c := r.classes[rng.IntN(len(r.classes))]; c.teacher != teacher {
			return c
		}
	}
	return nil
}

// owner says whose class an id is; false for an id of nobody here.
func (r *registry) owner(id string) (teacher int, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.classes {
		if c.id == id {
			return c.teacher, true
		}
	}
	return 0, false
}
