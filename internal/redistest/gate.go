package redistest

import (
	"sync"
	"time"
)

// gate holds what a test has set for one direction of a link.
type gate struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	delay   time.Duration
	stalled bool
	budget  int64 // bytes that may pass before the direction stalls, or cuts; below 0: any number
	cut     bool  // at the end of the budget connections break
	passed  int64
}

func newGate() *gate { return &gate{changed: make(chan struct{}), budget: -1} }

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.changed)
	g.changed = make(chan struct{})
}

// Delay makes every byte of a direction arrive later by d; how much passes in a second stays the same.
func (l *Link) Delay(dir Direction, d time.Duration) {
	g := l.gates[dir]
	g.set(func() { g.delay = d })
}

// Stall stops a direction: bytes are taken from the sender and not delivered.
func (l *Link) Stall(dir Direction) {
	g := l.gates[dir]
	g.set(func() { g.stalled = true })
}

// StallAfter lets n more bytes pass in a direction and stalls it then.
func (l *Link) StallAfter(dir Direction, n int64) {
	g := l.gates[dir]
	g.set(func() { g.stalled, g.budget, g.cut = false, n, false })
}

// CutAfter lets n more bytes pass in a direction; the connection whose byte would be the next one
// breaks.
func (l *Link) CutAfter(dir Direction, n int64) {
	g := l.gates[dir]
	g.set(func() { g.stalled, g.budget, g.cut = false, n, true })
}

// Resume ends a Stall, a StallAfter and a CutAfter of a direction.
func (l *Link) Resume(dir Direction) {
	g := l.gates[dir]
	g.set(func() { g.stalled, g.budget, g.cut = false, -1, false })
}

// Passed is how many bytes a direction has delivered in all.
func (l *Link) Passed(dir Direction) int64 {
	g := l.gates[dir]
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed
}

// verdict is what a gate lets a flow do.
type verdict uint8

const (
	pass  verdict = iota
	stop          // wait for a change
	sever         // break the connection
)

// admit says how many of n bytes, which came at the given time, may go now, and counts them. When
// none may, it says what to wait for: a change of the gate, or the time that is left of the delay.
func (g *gate) admit(n int, came, now time.Time) (verdict, int, <-chan struct{}, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if left := came.Add(g.delay).Sub(now); left > 0 {
		return stop, 0, g.changed, left
	}
	switch {
	case g.stalled || g.budget == 0 && !g.cut:
		return stop, 0, g.changed, 0
	case g.budget == 0:
		return sever, 0, nil, 0
	case g.budget > 0:
		n = int(min(int64(n), g.budget))
		g.budget -= int64(n)
	}
	g.passed += int64(n)
	return pass, n, nil, 0
}
