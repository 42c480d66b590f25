package sweep

import (
	"context"
	"slices"
	"strings"
	"time"
)

// side is one of the two names of a logical key.
type side uint8

const (
	legacySide side = iota
	targetSide
	trashSide // the legacy names that cleanup has put aside
)

// key is one logical key of the rule, found under one of its names.
type key struct {
	legacy, target string
	trash          string // its name in the trash, where that is what was found
}

// pass is one walk over the names of one side.
type pass struct {
	side side
	page func(ctx context.Context, l *link, keys []key) error
}

// page is what one SCAN answered.
type page struct {
	names  []string
	cursor uint64 // 0: the last one
	batch  int64  // how many names SCAN was to go over
	err    error
}

// walk calls work with the keys of the rule that a SCAN of one database finds, page by page, from a cursor on (0: the whole
// database). The next page is on its way while one is worked on. It ends early when ctx is done; what is sent runs under the
// context work, which is not.
func (r *run) walk(ctx, work context.Context, l *link, p pass, from uint64) error {
	pair := r.names.Pair(r.rule)
	glob := pair.Legacy().Glob()
	switch p.side {
	case targetSide:
		glob = pair.Target().Glob()
	case trashSide:
		glob = r.trashGlob()
	}
	coming := make(chan page, 1)
	fetch := func(cursor uint64) {
		batch := int64(r.sampler.batch(r.Page))
		go func() {
			names, cursor, err := l.client.Scan(work, cursor, string(glob), batch).Result()
			coming <- page{names, cursor, batch, serverError("SCAN", err)}
		}()
	}
	for fetch(from); ; {
		now := <-coming
		if now.err != nil {
			return now.err
		}
		if err := r.sampler.hold(ctx, r.held); err != nil {
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
		if now.cursor != 0 {
			fetch(now.cursor)
		}
		r.progress.Visited = min(r.progress.Visited+now.batch, r.progress.Keys)
		keys := r.keys(now.names, p.side)
		r.result.Seen += int64(len(now.names))
		r.result.Matched += int64(len(keys))
		begun := time.Now()
		err := p.page(work, l, keys)
		r.sampler.worked(len(keys), time.Since(begun))
		if err == nil && now.cursor != 0 {
			r.reached(r.at.Walk, now.cursor, r.progress.Visited)
		}
		r.report()
		switch {
		case err != nil && now.cursor != 0:
			<-coming // it ends by itself, and nothing may outlive the sweep
			return err
		case err != nil || now.cursor == 0:
			return err
		}
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
	for _, text := range names {
		name := []byte(text)
		rule, target := r.names.Find(name)
		if rule != r.rule || target != (s == targetSide) {
			continue
		}
		pair := r.names.Pair(rule)
		if other, ok := pair.AppendTarget(nil, name); !target && ok {
			keys = append(keys, key{legacy: text, target: string(other)})
		}
		if other, ok := pair.AppendLegacy(nil, name); target && ok {
			keys = append(keys, key{legacy: string(other), target: text})
		}
	}
	// SCAN may give a name twice in one page, and commands of one pipeline should not meet themselves.
	slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.legacy, b.legacy) })
	return slices.Compact(keys)
}
