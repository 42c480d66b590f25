package sweep

import (
	"context"
	"time"
)

// side is one of the two names of a logical key.
type side uint8

const (
	legacySide side = iota
	targetSide
	trashSide // the legacy names that cleanup has put aside
	bothSides
)

// key is one logical key of the rule, found under one of its names.
type key struct {
	legacy, target string
	trash          string // its name in the trash, where that is what was found
	found          side   // which of its names was
}

// pass is one walk over the names of one side.
type pass struct {
	side side
	// begin sends what a page is asked first, and end, which is called once, does the rest of the work on it. The next page
	// may have begun by then.
	begin func(ctx context.Context, l *link, keys []key) (end func() error, err error)
}

// whole makes a pass of work that is done on a page at once.
func whole(s side, page func(ctx context.Context, l *link, keys []key) error) pass {
	return pass{s, func(ctx context.Context, l *link, keys []key) (func() error, error) {
		return func() error { return page(ctx, l, keys) }, nil
	}}
}

// page is what one SCAN answered.
type page struct {
	names  []string
	cursor uint64 // 0: the last one
	batch  int64  // how many names SCAN was to go over
	took   time.Duration
	err    error
}

// scan has SCAN give the pages of one side, from a cursor on, up to the last one or an error. Nobody takes them after stop, which
// waits for the SCAN under way: nothing may outlive the sweep.
//
// One page waits to be taken while the next one is asked for. The server answers all that it finds to do at once, so the
// answer to a SCAN that meets a page of commands comes with theirs: without names in hand by then, it would have nothing to
// do until the next page is there.
func (r *run) scan(ctx context.Context, l *link, s side, cursor uint64) (pages <-chan page, stop func()) {
	coming, over := make(chan page, 1), make(chan struct{})
	go func() {
		defer close(coming)
		for last := false; !last; {
			now, asked := page{batch: int64(r.sampler.batch(r.Page))}, time.Now()
			now.names, now.cursor, now.err = l.client.Scan(ctx, cursor, r.glob(s), now.batch).Result()
			now.took, now.err = time.Since(asked), serverError("SCAN", now.err)
			select {
			case coming <- now:
			case <-over:
				return
			}
			cursor, last = now.cursor, now.err != nil || now.cursor == 0
		}
	}()
	return coming, func() {
		close(over)
		for range coming { // until it has ended
		}
	}
}

// walk gives the keys of the rule that a SCAN of one database finds to a pass, page by page, from a cursor on (0: the whole
// database). It ends early when ctx is done; what is sent runs under the context work, which is not.
//
// The server is not to wait for the sweep. While one page is worked on the next ones come from SCAN; and where nothing
// holds the sweep back, the next one begins as well before the answers of the first are read. Pages end in the order in which they
// began, each before it counts as reached. All have ended when walk returns, or the connection was lost. A page behind one that
// failed does not count as reached: who goes on from there would leave the failed one out.
func (r *run) walk(ctx, work context.Context, l *link, p pass, from uint64) (err error) {
	coming, stopScan := r.scan(work, l, p.side, from)
	defer stopScan()
	visited := r.progress.Visited
	var under *begun // the page that has begun
	finish := func() error {
		b := under
		under = nil
		return r.finished(b)
	}
	defer func() {
		if late := finish(); silent(late) {
			err = late
		}
	}()
	for {
		now := <-coming
		if now.err != nil {
			return now.err
		}
		if err := r.sampler.hold(ctx, finish, r.held); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.lease != nil {
			if err := r.lease.check(work); err != nil {
				return err
			}
		}
		visited = min(visited+now.batch, r.progress.Keys)
		keys := r.keys(now.names, p.side)
		next := &begun{names: len(now.names), keys: len(keys), cursor: now.cursor, visited: visited, scanned: now.took, since: time.Now()}
		if next.end, err = p.begin(work, l, keys); err != nil {
			return err
		}
		if err := finish(); err != nil {
			if late := next.end(); silent(late) {
				return late
			}
			return err
		}
		under = next
		if now.cursor == 0 {
			return finish()
		}
		if !r.sampler.free() {
			if err := finish(); err != nil {
				return err
			}
		}
	}
}

// begun is a page that has begun.
type begun struct {
	names, keys int
	cursor      uint64 // of the page behind it
	visited     int64
	scanned     time.Duration // how long its SCAN took, which is all its work where the rule has few of the names
	since       time.Time
	end         func() error
}

// finished ends a page; nil: there is none.
func (r *run) finished(b *begun) error {
	if b == nil {
		return nil
	}
	err := b.end()
	r.sampler.worked(b.keys, b.scanned+time.Since(b.since))
	if err != nil {
		return err
	}
	r.result.Seen += int64(b.names)
	r.result.Matched += int64(b.keys)
	r.progress.Visited = b.visited
	if b.cursor != 0 {
		r.reached(r.at.Walk, b.cursor, b.visited)
	}
	r.report()
	return nil
}

// glob matches all names of a side, and maybe others.
func (r *run) glob(s side) string {
	pair := r.names.Pair(r.rule)
	switch s {
	case targetSide:
		return string(pair.Target().Glob())
	case trashSide:
		return string(r.trashGlob())
	case bothSides:
		return "" // one walk over all names costs the server less than two that match half of them each
	default:
		return string(pair.Legacy().Glob())
	}
}

// keys picks the names that are this rule's on this side, and gives each its other name. A name of another rule, a
// target-looking name that is none, and rekey's own names are nobody's, which [keyname.Set.Find] knows: a catch-all rule
// must not purge its own controller.
func (r *run) keys(names []string, s side) []key {
	if s == trashSide {
		return r.trashKeys(names)
	}
	keys := make([]key, 0, len(names))
	others := make([]byte, 0, 64*len(names)) // of all keys, one behind the other
	ends := make([]int, 0, len(names))
	clear(r.met)
	for _, text := range names {
		// SCAN may give a name twice in one page, and commands of one pipeline should not meet themselves.
		if _, twice := r.met[text]; twice {
			continue
		}
		r.met[text] = struct{}{}
		r.name = append(r.name[:0], text...)
		rule, target := r.names.Find(r.name)
		if rule != r.rule || s != bothSides && target != (s == targetSide) {
			continue
		}
		k := key{legacy: text}
		if target {
			k = key{target: text, found: targetSide}
		}
		other, ok := others, false
		if pair := r.names.Pair(rule); target {
			other, ok = pair.AppendLegacy(others, r.name)
		} else {
			other, ok = pair.AppendTarget(others, r.name)
		}
		if !ok {
			continue
		}
		others = other
		keys, ends = append(keys, k), append(ends, len(others))
	}
	from, all := 0, string(others)
	for i, end := range ends {
		if k := &keys[i]; k.found == targetSide {
			k.legacy = all[from:end]
		} else {
			k.target = all[from:end]
		}
		from = end
	}
	return keys
}
