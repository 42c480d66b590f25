package session

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// health is whether this process may believe Redis alone. It starts suspect: what was ended before it
// started may not have reached Redis.
type health struct {
	outage outage

	mu         sync.Mutex
	suspect    bool
	generation uint64 // of failures
}

func newHealth(log *slog.Logger) *health {
	return &health{suspect: true, outage: outage{
		log: log, begins: "the session cache is unavailable, the database answers", ends: "the session cache is whole again",
	}}
}

// fail notes that Redis did not answer, or is not the one it was.
func (h *health) fail(err error) {
	h.mu.Lock()
	h.suspect = true
	h.generation++
	h.mu.Unlock()
	if err != nil {
		h.outage.begin(err)
	}
}

func (h *health) state() (suspect bool, generation uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.suspect, h.generation
}

// trust ends the suspicion, unless something failed since the generation was read.
func (h *health) trust(generation uint64) {
	h.mu.Lock()
	trusted := h.generation == generation
	if trusted {
		h.suspect = false
	}
	h.mu.Unlock()
	if trusted {
		h.outage.end()
	}
}

// outage logs its beginning and its end, once each.
type outage struct {
	log          *slog.Logger
	begins, ends string
	on           atomic.Bool
}

func (o *outage) begin(err error) {
	if !o.on.Load() && !o.on.Swap(true) {
		o.log.Warn(o.begins, "error", err)
	}
}

func (o *outage) end() {
	if o.on.Load() && o.on.Swap(false) {
		o.log.Info(o.ends)
	}
}
