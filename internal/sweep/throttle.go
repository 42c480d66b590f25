package sweep

import (
	"fmt"
	"time"
)

// The throttle keeps a sweep from being noticed. It decides over what the server says of itself, twice a second:
//
//   - Latency: the 99th percentile of a probe (PING on a connection of its own), beside what it was before the first page.
//     What makes others wait is how much the server is given at once, so pages get smaller first, down to minBatch, and
//     only then does the sweep sleep between them. When there is room again it goes the other way.
//   - CPU of the server's process, and a fork that writes the data set to disk: the sweep sleeps between pages.
//   - Memory, replicas and output buffers: the sweep pauses until there is room again, which is more than what made it pause.
//
// It begins with small pages, for the first decision falls only after half a second. Deciding is pure; [sampler] asks the
// server and the knobs.
const (
	minBatch, firstBatch = 20, 50
	// latencyFloor is a latency that nobody minds, whatever the idle one is.
	latencyFloor = time.Millisecond
	maxRatio     = 8.0
	// cpuLimit is how busy one core of the server may be.
	cpuLimit = 0.92
	// memoryLimit is how much of maxmemory may be used before copies are made no more.
	memoryLimit, memoryAgain = 0.95, 0.92
	lagLimit                 = 32 << 20 // bytes of the replication stream that a replica is behind
	bufferLimit              = 128 << 20
	// minSamples of the probe make a percentile.
	minSamples = 20
)

// signals are what a server says of itself at a moment. What is not known is 0.
type signals struct {
	latency, idle   time.Duration // p99 of the probe, now and before the first page
	used, maxMemory int64
	lag             int64 // of the slowest online replica
	buffers         int64 // what clients and replicas have not read yet
	cpu             float64
	saving          string // what the server's child writes
	copies          bool   // the sweep makes copies, which take memory
}

// pace is what a sweep does until the next decision.
type pace struct {
	batch  int
	ratio  float64 // how long it sleeps for each time it has worked
	paused bool
	// class and text are the reason: text has the figures. "": the server's own speed is the limit.
	class, text string
}

// limit is the latency that is aimed at.
func (s signals) limit() time.Duration { return max(2*s.idle, latencyFloor) }

// next decides how to go on from the pace before. most is the largest batch allowed.
func (p pace) next(s signals, most int) pace {
	out := pace{batch: min(p.batch, most), ratio: p.ratio}
	if p.batch == 0 {
		out.batch = most
	}
	least := min(minBatch, most)
	if class, text := p.full(s); class != "" {
		out.paused, out.class, out.text = true, class, text
		return out
	}
	switch slow, busy := s.latency > s.limit(), s.cpu > cpuLimit; {
	case slow && out.batch > least:
		out.batch = max(least, out.batch/2)
	case slow || busy:
		out.ratio = min(maxRatio, max(0.1, out.ratio*2))
	case s.latency > s.limit()*7/10 || s.cpu > cpuLimit*0.9:
		// It is right as it is.
	case out.ratio > 0:
		if out.ratio /= 2; out.ratio < 0.05 {
			out.ratio = 0
		}
	default:
		out.batch = min(most, out.batch+max(out.batch/4, 1))
	}
	switch {
	case out.batch < most || out.ratio > 0 && s.cpu <= cpuLimit*0.9:
		out.class, out.text = "latency", fmt.Sprintf("latency: p99 %s, limit %s", short(s.latency), short(s.limit()))
	case out.ratio > 0:
		out.class, out.text = "cpu", fmt.Sprintf("cpu: the server uses %.0f %% of a core", 100*s.cpu)
	}
	if s.saving != "" && out.ratio < 1 {
		return pace{batch: out.batch, ratio: 1, class: "fork", text: "fork: half speed during " + s.saving}
	}
	return out
}

// full says what there is no room for. What made the sweep pause must have room again before it goes on.
func (p pace) full(s signals) (class, text string) {
	over := func(class string, now, limit, again float64) bool {
		if p.paused && p.class == class {
			limit = again
		}
		return now > limit
	}
	const mib = 1 << 20
	switch {
	case s.copies && s.maxMemory > 0 && over("memory", float64(s.used)/float64(s.maxMemory), memoryLimit, memoryAgain):
		return "memory", fmt.Sprintf("memory: %.0f %% of maxmemory is used", 100*float64(s.used)/float64(s.maxMemory))
	case over("replica", float64(s.lag), lagLimit, lagLimit/2):
		return "replica", fmt.Sprintf("replica: one is %d MiB behind", s.lag/mib)
	case over("buffers", float64(s.buffers), bufferLimit, bufferLimit/2):
		return "buffers", fmt.Sprintf("buffers: %d MiB wait for clients that do not read", s.buffers/mib)
	default:
		return "", ""
	}
}

// short is a latency for a person.
func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
