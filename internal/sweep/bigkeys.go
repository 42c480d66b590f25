package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/classwaves/rekey/phase"
)

// DefaultBigStall is how long copying a key may stall the server before it counts as big: some 100,000 members.
const DefaultBigStall = 50 * time.Millisecond

// StallError is what an estimate of a stall is worth: the truth lies between the estimate divided by it and multiplied by
// it on an idle core of today's machines, and beyond that on a slow or crowded one.
const StallError = 2

// Weight is what is known of how big a key is. COPY runs on the server's one thread, so its size is everybody's wait.
type Weight struct {
	Type     string `json:"type"`               // as TYPE says
	Bytes    int64  `json:"bytes"`              // MEMORY USAGE, which looks at a few elements; 0: not known
	Elements int64  `json:"elements,omitempty"` // members, fields, entries or messages; 0: not known
}

// copyCost is what COPY takes per element beside its bytes. A value in tables and skip lists is built anew, entry by entry;
// one in a few large pieces (strings, lists, streams) is memory that is copied. Measured on Redis 7.0: a set of 1,000,000
// short members 0.3 to 0.4 s, a string of 100 MB 0.05 to 0.1 s.
var copyCost = map[string]time.Duration{
	"string": 0,
	"list":   20 * time.Nanosecond,
	"stream": 40 * time.Nanosecond,
	"set":    350 * time.Nanosecond,
	"hash":   450 * time.Nanosecond,
	"zset":   450 * time.Nanosecond,
}

const (
	// copyByte is what a byte takes, in a thousandth of a nanosecond: memory is found, cleared and filled.
	copyByte = 700
	// tableEntry is how many bytes an entry of a table takes at least, where only the bytes are known.
	tableEntry = 48
)

// CopyStall is how long one COPY of the key will stall the server, about; see [StallError]. A type that is not known, as
// of a module, is taken for the most expensive one.
func (w Weight) CopyStall() time.Duration {
	cost, known := copyCost[w.Type]
	if !known {
		cost = copyCost["hash"]
	}
	elements := w.Elements
	if elements == 0 {
		elements = w.Bytes / tableEntry
	}
	return time.Duration(elements)*cost + time.Duration(w.Bytes*copyByte/1000)
}

// BigKeys is what a sweep does with a key whose copy would stall the server.
type BigKeys uint8

const (
	// BigSkip leaves it and names it, so the sweep's gate does not hold before somebody has decided.
	BigSkip BigKeys = iota
	// BigNow copies it like any other; the stall is the operator's word.
	BigNow
	// BigMove renames it where the phase allows that, which takes no time whatever its size.
	BigMove
)

var bigKeysNames = [...]string{BigSkip: "skip", BigNow: "now", BigMove: "move"}

func (b BigKeys) String() string {
	if int(b) >= len(bigKeysNames) {
		return fmt.Sprintf("bigkeys(%d)", uint8(b))
	}
	return bigKeysNames[b]
}

// ParseBigKeys reads skip, now or move.
func ParseBigKeys(name string) (BigKeys, error) {
	for b, n := range bigKeysNames {
		if n == name {
			return BigKeys(b), nil
		}
	}
	return 0, fmt.Errorf("rekey: %q is nothing to do with big keys; write now, skip or move", name)
}

// Treatment is what is done with one key.
type Treatment uint8

const (
	// Plain: what the job does with every key.
	Plain Treatment = iota + 1
	// Leave: nothing; the key is named.
	Leave
	// Rename: RENAMENX L P in place of COPY L P.
	Rename
)

// Treat decides about one key of a job in a phase. A key is big if its copy would stall the server for limit or longer
// (0: [DefaultBigStall]). The reason is for the operator, "" where the treatment is [Plain].
//
// Only jobs that copy can stall anyone: backfill, reverse of the mirror strategy, and the repairs of verify. RENAMENX and
// UNLINK take no time whatever the size, and verify reads big values in pieces.
//
// Rename is right in drain alone. There a write does the same to the key (COPY L P; CMD P; UNLINK L), so every process is
// ready for a key under its target name only. RENAMENX is one atomic command that does nothing if P exists or L does not:
// a key that is changed, deleted or created at the same moment is what its writer made it, before or after. What it
// shares with relocate: an application's SCAN that is under way may miss a key that moves.
// In dual it would be as safe and gain nothing: the next write copies the key back to L, in the application's time, and
// so would the next read after a reverse.
func (b BigKeys) Treat(kind Kind, strategy phase.Strategy, at phase.Phase, w Weight, limit time.Duration) (Treatment, string) {
	if limit == 0 {
		limit = DefaultBigStall
	}
	copies := strategy == phase.Mirror && (kind == Backfill || kind == Reverse || kind == Verify)
	stall := w.CopyStall()
	switch {
	case !copies || b == BigNow || stall < limit:
		return Plain, ""
	case b == BigMove && kind == Backfill && at == phase.Drain:
		return Rename, "renamed: a copy would stall the server for about " + StallText(stall)
	case kind != Backfill: // both names are to be there: no rename does that
		return Leave, fmt.Sprintf("a copy would stall the server for about %s; --big-keys now copies it", StallText(stall))
	case b == BigMove:
		return Leave, fmt.Sprintf("a copy would stall the server for about %s, and a rename is undone by the next access in phase %v; "+
			"--big-keys now copies it, --big-keys move renames it in phase drain", StallText(stall), at)
	default:
		return Leave, fmt.Sprintf("a copy would stall the server for about %s; --big-keys now copies it, --big-keys move renames it in phase drain, "+
			"and a rule with strategy: move never copies", StallText(stall))
	}
}

// StallText is a stall for a person, as exact as the estimate is.
func StallText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1ms"
	case d < 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// LengthCommand is the command that tells how many elements a value has. A string has none: its bytes are all there is.
func LengthCommand(valueType string) (string, bool) {
	command, ok := map[string]string{
		"list": "LLEN", "set": "SCARD", "hash": "HLEN", "zset": "ZCARD", "stream": "XLEN",
	}[valueType]
	return command, ok
}

// lightBytes is a size that no type needs as long as limit (0: [DefaultBigStall]) to copy, or half of it to be sure.
func lightBytes(limit time.Duration) int64 {
	if limit == 0 {
		limit = DefaultBigStall
	}
	worst := copyCost["hash"]/tableEntry + 1
	return int64(limit / worst / StallError)
}

// weigh asks how big keys are: one round trip for all, at whose end two more are made for those that could stall the server
// for limit. Of the others only the bytes are known. A name that is gone weighs nothing.
//
// Where the server does not tell what a key takes (it has no MEMORY USAGE, or the user no right to it), every key is
// asked for its type and its elements.
func weigh(ctx context.Context, l *link, names []string, limit time.Duration) (end func() ([]Weight, error), err error) {
	out := make([]Weight, len(names))
	commands := make([]command, len(names))
	for i, name := range names {
		commands[i] = command{"MEMORY", "USAGE", name}
	}
	var heavy []int
	answered, err := ask(ctx, l, commands, func(i int, a answer) error {
		switch code(a.err) {
		case "ERR", "NOPERM":
			heavy = append(heavy, i)
			return nil
		}
		if out[i].Bytes = a.n; a.n >= lightBytes(limit) {
			heavy = append(heavy, i)
		}
		return serverError("MEMORY USAGE", a.err)
	})
	if err != nil {
		return nil, err
	}
	return func() ([]Weight, error) {
		if err := answered(); err != nil {
			return nil, err
		}
		return out, weighHeavy(ctx, l.client, names, heavy, out)
	}, nil
}

// weighOne weighs one key, on a connection that carries no pages.
func weighOne(ctx context.Context, to sender, name string, limit time.Duration) (w Weight, err error) {
	out, usage := make([]Weight, 1), command{"MEMORY", "USAGE", name}
	replies, err := pipeline(ctx, to, []command{usage})
	if err != nil {
		return w, err
	}
	switch code(replies[0].Err()) {
	case "ERR", "NOPERM":
	default:
		if out[0].Bytes, err = integer(usage, replies[0]); err != nil || out[0].Bytes < lightBytes(limit) {
			return out[0], err
		}
	}
	return out[0], weighHeavy(ctx, to, []string{name}, []int{0}, out)
}

// weighHeavy asks for the type and the length of some of the names.
func weighHeavy(ctx context.Context, to sender, names []string, which []int, out []Weight) error {
	commands := make([]command, 0, len(which))
	for _, i := range which {
		commands = append(commands, command{"TYPE", names[i]})
	}
	types, err := pipeline(ctx, to, commands)
	if err != nil {
		return err
	}
	var counted []int
	commands = commands[:0]
	for n, i := range which {
		t, err := typeOf(types[n])
		if err != nil {
			return err
		}
		out[i].Type = string(t)
		word, ok := LengthCommand(string(t))
		if t == stringType && out[i].Bytes == 0 {
			word, ok = "STRLEN", true
		}
		if ok {
			counted, commands = append(counted, i), append(commands, command{word, names[i]})
		}
	}
	lengths, err := pipeline(ctx, to, commands)
	if err != nil {
		return err
	}
	for n, i := range counted {
		if code(lengths[n].Err()) == "WRONGTYPE" {
			continue // it was replaced meanwhile
		}
		length, err := integer(commands[n], lengths[n])
		if err != nil {
			return err
		}
		if out[i].Type == string(stringType) {
			out[i].Bytes = length
		} else {
			out[i].Elements = length
		}
	}
	return nil
}
