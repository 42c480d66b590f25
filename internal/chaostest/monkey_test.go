package chaostest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// fault is one thing that goes wrong, and is well again when it returns.
type fault struct {
	name   string
	weight int
	make   func(*monkey, *rand.Rand) error
}

func faults() []fault {
	return []fault{
		{"instance killed", 6, killInstance},
		{"instance stopped", 3, stopInstance},
		{"controller killed", 4, killController},
		{"server killed", 2, killServer},
		{"connections cut", 4, cutLink},
		{"link slowed", 3, slowLink},
		{"link stalled", 3, stallLink},
		{"records out of reach", 2, cutRecords},
	}
}

// monkey makes one fault after the other, and some at once.
type monkey struct {
	w    *world
	ctx  context.Context // ends when it is to stop
	work sync.WaitGroup

	mu     sync.Mutex
	busy   map[int]bool // instances with a fault
	server bool         // it has one
	made   map[string]int
	err    error
}

func newMonkey(ctx context.Context, w *world) *monkey {
	return &monkey{w: w, ctx: ctx, busy: make(map[int]bool), made: make(map[string]int)}
}

// A burst is so many faults; after it there is a calm in which the dead are buried and walks get on.
const (
	burst = 8
	calm  = lease + time.Second
)

// run makes faults until its context ends. What is named first is made first.
func (m *monkey) run() error {
	rng := rand.New(rand.NewPCG(m.w.seed, 1<<40))
	all := faults()
	total := 0
	for _, f := range all {
		total += f.weight
	}
	for n := 0; m.pause(between(rng, 200, 1000)); n++ {
		if n%burst == burst-1 && !m.pause(calm) {
			break
		}
		f := all[n%len(all)]
		if n >= len(all) { // each once, then by weight
			pick := rng.IntN(total)
			i := slices.IndexFunc(all, func(f fault) bool { pick -= f.weight; return pick < 0 })
			f = all[i]
		}
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		m.work.Go(func() {
			err := f.make(m, own)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.made[f.name]++
			if m.err == nil && err != nil {
				m.err = fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	m.work.Wait()
	return m.err
}

// between is a time between two numbers of milliseconds.
func between(rng *rand.Rand, least, most int) time.Duration {
	return time.Duration(least+rng.IntN(most-least)) * time.Millisecond
}

// pause waits; it is false where the monkey is to stop.
func (m *monkey) pause(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// counts are the faults that were made.
func (m *monkey) counts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.made)
}

func (m *monkey) String() string {
	var out []string
	counts := m.counts()
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(out, ", ")
}

// victim chooses an instance that has no fault yet, and of those that there are a third: the others go on.
func (m *monkey) victim(rng *rand.Rand) (n int, release func(), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = rng.IntN(len(m.w.instances))
	if m.busy[n] || len(m.busy) > len(m.w.instances)/3 {
		return 0, nil, false
	}
	m.busy[n] = true
	return n, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.busy, n)
	}, true
}

func killInstance(m *monkey, rng *rand.Rand) error {
	n, release, ok := m.victim(rng)
	if !ok {
		return nil
	}
	defer release()
	link := m.w.data[n]
	if rng.IntN(3) == 0 { // what it sent last arrives after its death
		link.Stall(redistest.ToServer)
		m.pause(between(rng, 20, 200))
	}
	m.w.instances[n].kill()
	m.pause(between(rng, 10, 3000))
	link.Resume(redistest.ToServer)
	return m.w.instances[n].start()
}

// stopInstance stops one for longer than its lease lasts, more often than not.
func stopInstance(m *monkey, rng *rand.Rand) error {
	n, release, ok := m.victim(rng)
	if !ok {
		return nil
	}
	defer release()
	m.w.instances[n].signal(syscall.SIGSTOP)
	m.pause(between(rng, 1000, 2*int(lease.Milliseconds())))
	m.w.instances[n].signal(syscall.SIGCONT)
	return nil
}

func killController(m *monkey, rng *rand.Rand) error {
	m.mu.Lock()
	defer m.mu.Unlock() // one at a time; what is begun meanwhile waits to be counted
	m.w.controller.kill()
	return m.w.controller.start()
}

func killServer(m *monkey, rng *rand.Rand) error {
	m.mu.Lock()
	if m.server {
		m.mu.Unlock()
		return nil
	}
	m.server = true
	m.mu.Unlock()
	m.w.server.Kill()
	m.pause(between(rng, 0, 500))
	m.w.server.Restart()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server = false
	return nil
}

// link chooses one, of whoever has one.
func (m *monkey) link(rng *rand.Rand) *redistest.Link {
	switch n := rng.IntN(len(m.w.instances)); rng.IntN(5) {
	case 0:
		return m.w.command
	case 1, 2:
		return m.w.records[n]
	default:
		return m.w.data[n]
	}
}

func cutLink(m *monkey, rng *rand.Rand) error {
	link := m.link(rng)
	if rng.IntN(2) == 0 {
		link.Cut()
		return nil
	}
	direction := redistest.Direction(rng.IntN(2))
	link.CutAfter(direction, rng.Int64N(400)) // in the middle of a command, or of a reply
	m.pause(between(rng, 50, 300))
	link.Resume(direction)
	return nil
}

func slowLink(m *monkey, rng *rand.Rand) error {
	link, direction := m.link(rng), redistest.Direction(rng.IntN(2))
	link.Delay(direction, between(rng, 5, 150))
	m.pause(between(rng, 200, 1500))
	link.Delay(direction, 0)
	return nil
}

// stallLink holds bytes up for longer than clients wait. Half of the time they break off meanwhile.
func stallLink(m *monkey, rng *rand.Rand) error {
	link, direction := m.link(rng), redistest.Direction(rng.IntN(2))
	link.Stall(direction)
	m.pause(between(rng, 100, 2500))
	if rng.IntN(2) == 0 {
		link.CutClients()
		m.pause(between(rng, 0, 1000))
	}
	link.Resume(direction)
	return nil
}

// cutRecords keeps an instance from its records for longer than its lease, while its application goes on.
func cutRecords(m *monkey, rng *rand.Rand) error {
	n, release, ok := m.victim(rng)
	if !ok {
		return nil
	}
	defer release()
	link := m.w.records[n]
	link.Refuse()
	link.Cut()
	m.pause(lease + between(rng, 0, 2000))
	link.Accept()
	return nil
}
