package sweep

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A backfill makes a second copy of every key, and a server that runs full in the middle of it refuses writes to everybody,
// or evicts. So before its first page it weighs a sample of the keys that have no copy yet, and does not begin where their
// copies will not fit: its gate does not hold then, and says so. The operator's word ([Options.Overcommit]) lets it begin.

const (
	// sampledPages pages of SCAN are looked at in each database, of sampledPage names each: all of a small one, and in a large
	// one wherever a cursor made up leads, for it is a place in the server's table, which is in the order of a hash. Its beginning
	// is what a backfill that was interrupted has copied already.
	sampledPages, sampledPage = 20, 1000
	// perCopy is what a key takes in the server's table that MEMORY USAGE does not count.
	perCopy = 16
)

// Need is how much memory second copies will take, estimated from a sample.
type Need struct {
	Keys  int64 `json:"keys"`  // that have no copy yet
	Bytes int64 `json:"bytes"` // what their copies will take
	// Error is how far Bytes may be off for the sample's size, in 95 of 100 cases; 0 where all keys were weighed. Beside it
	// stands the server's own: it looks at five elements of a big value and takes the others to be like them.
	Error int64 `json:"error"`
}

// Sampled is what the names that SCAN went over need: nothing, where a name is not the rule's or has its copy. It sums up
// to an estimate for all.
type Sampled struct {
	// Visited is how many names SCAN went over, about.
	Visited int64

	keys         int64
	sum, squares float64
}

// Add counts a key whose copy will take so much, the key's own place in the server's table not included.
func (s *Sampled) Add(bytes int64) {
	bytes += perCopy
	s.keys++
	s.sum += float64(bytes)
	s.squares += float64(bytes) * float64(bytes)
}

// Need scales the sample to a database of so many names; whole says that it was no sample.
func (s *Sampled) Need(names int64, whole bool) Need {
	if whole || s.Visited >= names || s.Visited == 0 {
		return Need{Keys: s.keys, Bytes: int64(s.sum)}
	}
	n, scale := float64(s.Visited), float64(names)/float64(s.Visited)
	deviation := math.Sqrt(max(0, s.squares-s.sum*s.sum/n) * (1 - n/float64(names)))
	return Need{Keys: int64(float64(s.keys) * scale), Bytes: int64(s.sum * scale), Error: int64(2 * deviation * scale)}
}

// Plus adds the needs of two databases, whose errors are independent.
func (n Need) Plus(m Need) Need {
	return Need{Keys: n.Keys + m.Keys, Bytes: n.Bytes + m.Bytes, Error: int64(math.Hypot(float64(n.Error), float64(m.Error)))}
}

// Memory is what a server says of its memory.
type Memory struct {
	Used    int64 // by data, without what is not counted against the limit
	Limit   int64 // maxmemory, else that of the machine; 0: not known
	Machine bool  // the limit is the machine's
}

// Fits reports whether copies fit, and how much is left for them. What is not known is taken to fit.
func (m Memory) Fits(n Need) (room int64, fits bool) {
	room = max(0, m.Limit-m.Used)
	return room, m.Limit == 0 || n.Bytes <= room
}

// refusal says why a backfill does not begin, and what to do.
func (m Memory) refusal(rule string, n Need) string {
	room, _ := m.Fits(n)
	of := "maxmemory"
	if m.Machine {
		of = "the machine's memory"
	}
	return fmt.Sprintf("the copies of about %d keys will take %s, and %s are left of %s; raise maxmemory, give rule %s strategy: move, which makes no copies, or add --overcommit, your word that it will do",
		n.Keys, n, SizeText(room), of, rule)
}

// String is the bytes and their error.
func (n Need) String() string {
	if n.Error == 0 {
		return "about " + SizeText(n.Bytes)
	}
	return "about " + SizeText(n.Bytes) + " ± " + SizeText(n.Error)
}

// SizeText is a size in memory for a person.
func SizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// askMemory reads INFO. A server that does not say, or to this user, is one of which nothing is known.
func askMemory(ctx context.Context, l *link) (Memory, error) {
	text, err := l.client.Info(ctx, "memory").Result()
	if code(err) != "" {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, serverError("INFO", err)
	}
	fields := make(map[string]int64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			fields[name] = n
		}
	}
	m := Memory{Used: fields["used_memory"] - fields["mem_not_counted_for_evict"], Limit: fields["maxmemory"]}
	if m.Limit == 0 {
		m.Limit, m.Machine = fields["total_system_memory"], true
	}
	return m, nil
}

// needOf weighs a sample of a database's keys that the rule's target side lacks. It is false where the server does not
// tell what a key takes.
func (r *run) needOf(ctx context.Context, l *link) (n Need, known bool, err error) {
	names, err := l.client.DBSize(ctx).Result()
	if err != nil {
		return Need{}, false, serverError("DBSIZE", err)
	}
	var s Sampled
	glob, cursor := string(r.names.Pair(r.rule).Legacy().Glob()), uint64(0)
	for range sampledPages {
		if names > sampledPages*sampledPage && s.Visited > 0 {
			cursor = rand.Uint64()
		}
		var found []string
		if found, cursor, err = l.client.Scan(ctx, cursor, glob, sampledPage).Result(); err != nil {
			return Need{}, false, serverError("SCAN", err)
		}
		s.Visited += sampledPage
		if known, err = r.weighCopies(ctx, l, r.keys(found, legacySide), &s); err != nil || !known {
			return Need{}, false, err
		}
		if cursor == 0 && (names <= sampledPages*sampledPage || s.Visited == sampledPage) {
			return s.Need(names, true), true, nil
		}
	}
	return s.Need(names, false), true, nil
}

// weighCopies adds what the copies of some keys will take. Keys that are too big to be copied unasked will take nothing.
//
// A stream of a few entries counts for some 4 KiB more than its copy takes: the server keeps so much for those that come, says
// nothing of it, and does not copy it. That is on the safe side.
func (r *run) weighCopies(ctx context.Context, l *link, keys []key, s *Sampled) (known bool, err error) {
	commands := make([]command, 0, 2*len(keys))
	for _, k := range keys {
		commands = append(commands, command{"EXISTS", k.target}, command{"MEMORY", "USAGE", k.legacy})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return false, err
	}
	weights, names := make([]Weight, len(keys)), make([]string, len(keys))
	var heavy []int
	for i, k := range keys {
		if c := code(replies[2*i+1].Err()); c == "ERR" || c == "NOPERM" {
			return false, nil
		}
		there, err := integer(commands[2*i], replies[2*i])
		if err != nil {
			return false, err
		}
		bytes, err := integer(commands[2*i+1], replies[2*i+1])
		if err != nil {
			return false, err
		}
		if there > 0 {
			continue
		}
		names[i], weights[i].Bytes = k.legacy, bytes
		if r.BigKeys != BigNow && bytes >= lightBytes(r.BigStall) {
			heavy = append(heavy, i)
		}
	}
	if err := weighHeavy(ctx, l.client, names, heavy, weights); err != nil {
		return false, err
	}
	for i, k := range keys {
		if treatment, _ := r.BigKeys.Treat(r.Kind, r.strategy, r.Phase, weights[i], r.BigStall); treatment == Plain && weights[i].Bytes > 0 {
			s.Add(weights[i].Bytes + int64(len(k.target)-len(k.legacy)))
		}
	}
	return true, nil
}

// budget is the memory of a backfill: what it was expected to take, and what there was before.
type budget struct {
	need   Need
	known  bool
	before Memory
	refuse string // why it does not begin; "" if it does
}

// budgeted estimates before the first page, and refuses.
func (r *run) budgeted(ctx context.Context, links []*link) (b budget, err error) {
	if b.before, err = askMemory(ctx, links[0]); err != nil {
		return b, err
	}
	b.known = true
	for _, l := range links {
		need, known, err := r.needOf(ctx, l)
		if err != nil {
			return b, err
		}
		b.need, b.known = b.need.Plus(need), b.known && known
	}
	switch _, fits := b.before.Fits(b.need); {
	case !b.known || b.before.Limit == 0:
		r.note("whether the copies fit into the server's memory is not known: it does not say what it has (INFO) or what a key takes (MEMORY USAGE)")
	case fits:
	case r.Overcommit:
		r.note("begun on the operator's word: " + b.before.refusal(r.Rule, b.need))
	default:
		b.refuse = b.before.refusal(r.Rule, b.need)
	}
	return b, nil
}

// outcome compares the estimate with what has become of the server's memory.
func (r *run) outcome(ctx context.Context, l *link, b budget) error {
	if !b.known || b.before.Used == 0 || r.result.Changed == 0 {
		return nil
	}
	after, err := askMemory(ctx, l)
	if err != nil {
		return err
	}
	grown := after.Used - b.before.Used
	sign := ""
	if grown < 0 {
		grown, sign = -grown, "-"
	}
	r.note(fmt.Sprintf("the server's memory has grown by %s%s, what other clients did counted in; the copies were estimated at %s", sign, SizeText(grown), b.need))
	return nil
}
