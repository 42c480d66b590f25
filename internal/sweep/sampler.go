package sweep

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

const (
	probeEvery  = 10 * time.Millisecond
	sampleEvery = 500 * time.Millisecond
	// idleLooks of idleProbes each are made before the first page of a keyspace that has at least throttledPages of them; a
	// smaller one is done before anything could be measured.
	idleLooks, idleProbes, idleEvery = 3, 30, 5 * time.Millisecond
	throttledPages                   = 12
	// pausedPoll is how often a paused sweep looks whether it may go on.
	pausedPoll = 100 * time.Millisecond
)

// sampler asks the server how it is, and the knobs how they are turned, and keeps the pace that follows from it. It has a
// connection of its own, so that what it measures is what others wait.
type sampler struct {
	link    *link
	plan    *plan.Plan
	rule    string
	signals bool // they are looked at, not the knobs alone
	base    Knobs
	before  signals // of the last look
	cpuAt   time.Time
	cpuUsed float64

	mu      sync.Mutex // guards what follows
	pace    pace
	knobs   Knobs
	samples []time.Duration

	// Of the walk alone: the rate, and what the last page was.
	limiter  *rate.Limiter
	owed     time.Duration
	owedKeys int

	stop   chan struct{}
	unhook func() bool // from the sweep's context
	work   sync.WaitGroup
}

// newSampler begins with the knobs as they are; idle is measured, where there is enough to do.
func (r *run) newSampler(ctx context.Context, control *link, keys int64) (_ *sampler, err error) {
	s := &sampler{
		link: newLink(r.Client, r.Plan.Databases[0], nil), plan: r.Plan, rule: r.Rule,
		signals: r.Throttled && keys >= int64(throttledPages*r.Page),
		base:    Knobs{Rate: &r.Rate, Batch: &r.Page, Nice: &r.Nice, Paused: new(bool)},
		stop:    make(chan struct{}),
	}
	// Whoever stops a sweep on a server that hangs does not wait for what is only measured.
	s.unhook = context.AfterFunc(ctx, func() { _ = s.link.close() })
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	s.before.copies = r.strategy == phase.Mirror && (r.Kind == Backfill || r.Kind == Reverse)
	s.pace.batch = r.Page
	if s.signals {
		s.pace = pace{batch: min(firstBatch, r.Page), class: "latency", text: "latency: it begins with small pages"}
	}
	if err := s.turn(ctx, control.client); err != nil {
		return nil, err
	}
	if s.signals {
		if err := s.idle(ctx); err != nil {
			return nil, err
		}
	}
	s.work.Go(func() { s.watch(context.WithoutCancel(ctx)) })
	return s, nil
}

// end stops the sampler. nil: there is none.
func (s *sampler) end() {
	if s == nil {
		return
	}
	close(s.stop)
	s.unhook()
	_ = s.link.close() // it was read from; what it still waits for gets the error
	s.work.Wait()
}

// turn reads the knobs.
func (s *sampler) turn(ctx context.Context, c *redis.Client) error {
	all, err := ReadKnobs(ctx, c, s.plan)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knobs = all[s.rule].over(all[AllRules]).over(s.base)
	return nil
}

// idle measures the probe while the sweep does nothing yet.
func (s *sampler) idle(ctx context.Context) error {
	samples := make([]time.Duration, 0, idleLooks*idleProbes)
	if err := s.link.client.Ping(ctx).Err(); err != nil { // makes the connection, which is not measured
		return serverError("PING", err)
	}
	for range cap(samples) {
		begun := time.Now()
		if err := s.link.client.Ping(ctx).Err(); err != nil {
			return serverError("PING", err)
		}
		samples = append(samples, time.Since(begun))
		if err := pause(ctx, idleEvery); err != nil {
			return err
		}
	}
	s.before.idle = idleOf(samples)
	return nil
}

// idleOf is the 99th percentile of an idle server: the median of those of some looks. The one of all probes at once is that of
// the slowest, so that a single moment in which the machine did something else would allow the whole sweep to be noticed.
func idleOf(samples []time.Duration) time.Duration {
	var looks []time.Duration
	for look := range slices.Chunk(samples, idleProbes) {
		looks = append(looks, percentile(look, 0.99))
	}
	return percentile(looks, 0.5)
}

// percentile of some samples, which are sorted by it.
func percentile(samples []time.Duration, p float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	return samples[min(len(samples)-1, int(p*float64(len(samples))))]
}

// watch probes and decides until end. An error is no reason to stop: the sweep meets it as well, and knows what to do.
func (s *sampler) watch(ctx context.Context) {
	probe, sample := time.NewTicker(probeEvery), time.NewTicker(sampleEvery)
	defer probe.Stop()
	defer sample.Stop()
	if !s.signals {
		probe.Stop()
	}
	for {
		select {
		case <-s.stop:
			return
		case <-probe.C:
			begun := time.Now()
			if s.link.client.Ping(ctx).Err() == nil {
				s.mu.Lock()
				s.samples = append(s.samples, time.Since(begun))
				s.mu.Unlock()
			}
		case <-sample.C:
			_ = s.turn(ctx, s.link.client) // the knobs stay as they were
			if s.signals {
				s.decide(ctx)
			}
		}
	}
}

// decide asks the server and changes the pace.
func (s *sampler) decide(ctx context.Context) {
	var text strings.Builder
	for _, section := range []string{"memory", "replication", "persistence", "cpu"} {
		part, err := s.link.client.Info(ctx, section).Result()
		if err != nil && code(err) == "" {
			return
		}
		text.WriteString(part) // "" where the server does not say, or not to this user
	}
	now := s.parse(text.String(), time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) < minSamples {
		return // a longer look
	}
	now.latency = percentile(s.samples, 0.99)
	s.samples = s.samples[:0] // what follows is about the pace that follows
	s.before = now
	s.pace = s.pace.next(now, *s.knobs.Batch)
}

// parse reads the signals of INFO.
func (s *sampler) parse(info string, at time.Time) signals {
	out := signals{idle: s.before.idle, copies: s.before.copies}
	number := make(map[string]float64)
	var offset float64
	var behind []float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") {
			for field := range strings.SplitSeq(value, ",") {
				if text, ok := strings.CutPrefix(field, "offset="); ok {
					n, _ := strconv.ParseFloat(text, 64) // a server writes a number
					behind = append(behind, n)
				}
			}
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			number[name] = n
		}
	}
	offset = number["master_repl_offset"]
	for _, n := range behind {
		out.lag = max(out.lag, int64(offset-n))
	}
	out.used, out.maxMemory = int64(number["used_memory"]), int64(number["maxmemory"])
	out.buffers = int64(number["mem_clients_slaves"] + number["mem_clients_normal"])
	switch {
	case number["rdb_bgsave_in_progress"] == 1:
		out.saving = "an RDB save"
	case number["aof_rewrite_in_progress"] == 1:
		out.saving = "an AOF rewrite"
	}
	used := number["used_cpu_sys"] + number["used_cpu_user"]
	if main := number["used_cpu_sys_main_thread"] + number["used_cpu_user_main_thread"]; main > 0 {
		used = main // other threads take nobody's time
	}
	if passed := at.Sub(s.cpuAt).Seconds(); !s.cpuAt.IsZero() && passed > 0 {
		out.cpu = (used - s.cpuUsed) / passed
	}
	s.cpuAt, s.cpuUsed = at, used
	return out
}

// now is the pace and the knobs at the moment.
func (s *sampler) now() (pace, Knobs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace, s.knobs
}

// batch is how many names the next page is to have.
func (s *sampler) batch(page int) int {
	if s == nil {
		return page
	}
	p, k := s.now()
	batch := *k.Batch
	if s.signals {
		batch = min(batch, p.batch)
	}
	if *k.Rate > 0 {
		batch = min(batch, int(*k.Rate/2)) // so that no page is waited for longer than that
	}
	return max(1, batch)
}

// worked notes what the last page took.
func (s *sampler) worked(keys int, took time.Duration) {
	if s != nil {
		s.owedKeys, s.owed = keys, took
	}
}

// free reports whether a page may begin before the one before it has ended: where nothing holds the sweep back, and nothing
// that it would sleep for is measured by the page.
func (s *sampler) free() bool {
	if s == nil {
		return true
	}
	p, k := s.now()
	return p.class == "" && p.ratio == 0 && *k.Nice == 0 && *k.Rate == 0 && !*k.Paused
}

// hold sleeps before a page for what the last one owes, and for as long as the sweep is paused. finish ends the page at work
// before it sleeps. told is called with the reason then, and with none where nothing holds the sweep back.
func (s *sampler) hold(ctx context.Context, finish func() error, told func(class, text string, sleeps time.Duration)) error {
	if s == nil {
		return nil
	}
	for {
		p, k := s.now()
		var class, text string
		switch {
		case *k.Paused:
			class, text = "knob", "paused by rekey knob; rekey knob "+s.rule+" --resume goes on"
		case p.paused:
			class, text = p.class, p.text
		default:
			class, text, sleeps := s.owes(p, k)
			told(class, text, sleeps)
			if sleeps == 0 {
				return nil
			}
			if err := finish(); err != nil {
				return err
			}
			return pause(ctx, sleeps)
		}
		if err := finish(); err != nil {
			return err
		}
		told(class, text, pausedPoll)
		if err := pause(ctx, pausedPoll); err != nil {
			return err
		}
	}
}

// owes is how long to sleep before the next page, and the reason that asks for most.
func (s *sampler) owes(p pace, k Knobs) (class, text string, sleeps time.Duration) {
	class, text = p.class, p.text
	sleeps = time.Duration(float64(s.owed) * p.ratio)
	if nice := time.Duration(float64(s.owed) * *k.Nice); nice > sleeps {
		class, text, sleeps = "nice", "nice: sleeps "+strconv.FormatFloat(*k.Nice, 'g', 3, 64)+" times as long as it works", nice
	}
	if wait := s.reserve(*k.Rate); wait > sleeps {
		class, text, sleeps = "rate", "rate: "+strconv.FormatFloat(*k.Rate, 'f', -1, 64)+" keys/s, as asked", wait
	}
	s.owed, s.owedKeys = 0, 0
	return class, text, sleeps
}

// reserve is how long the rate wants to wait for the keys of the last page.
func (s *sampler) reserve(perSecond float64) time.Duration {
	if perSecond <= 0 || s.owedKeys == 0 {
		return 0
	}
	if limit := rate.Limit(perSecond); s.limiter == nil || s.limiter.Limit() != limit {
		s.limiter = rate.NewLimiter(limit, 1)
	}
	s.limiter.SetBurst(s.owedKeys)
	now := time.Now()
	return s.limiter.ReserveN(now, s.owedKeys).DelayFrom(now)
}
