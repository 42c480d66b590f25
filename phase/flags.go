package phase

import (
	"fmt"
	"slices"
	"strings"
)

// Flags is the set of the seed's environment flags that a rule obeys where no control plane is wanted.
type Flags uint8

const (
	// FlagsNone: the rule obeys no flags.
	FlagsNone Flags = iota
	// FlagsCache: the CW_CACHE flags, for rules of the mirror strategy.
	FlagsCache
	// FlagsRL: the CW_RL flags, for rules of the move strategy.
	FlagsRL
)

// The seed's flags, and those that its rollout lacked.
const (
	CachePrefixEnabled = "CW_CACHE_PREFIX_ENABLED"
	CacheDualWrite     = "CW_CACHE_DUAL_WRITE"
	CacheLegacyRead    = "CW_CACHE_LEGACY_READ"
	CacheLegacyGone    = "CW_CACHE_LEGACY_GONE"
	RLPrefixEnabled    = "CW_RL_PREFIX_ENABLED"
	RLLegacyGone       = "CW_RL_LEGACY_GONE"
	// CacheGated makes a process stay where it is until a step's gate has its verdict. It belongs to no phase.
	CacheGated = "CW_CACHE_GATED"
)

var flagsNames = [...]string{FlagsNone: "none", FlagsCache: "cache", FlagsRL: "rl"}

func (f Flags) String() string {
	if int(f) >= len(flagsNames) {
		return fmt.Sprintf("flags(%d)", uint8(f))
	}
	return flagsNames[f]
}

// ParseFlags reads the name of a set of flags.
func ParseFlags(name string) (Flags, error) {
	if i := slices.Index(flagsNames[:], name); i >= 0 {
		return Flags(i), nil
	}
	return FlagsNone, fmt.Errorf("%q is no set of flags; write cache, rl or none", name)
}

// Strategy returns the strategy whose phases the flags choose; it is false for [FlagsNone].
func (f Flags) Strategy() (Strategy, bool) {
	switch f {
	case FlagsCache:
		return Mirror, true
	case FlagsRL:
		return Relocate, true
	default:
		return 0, false
	}
}

// Setting is one environment variable.
type Setting struct {
	Name  string
	Value string // where not Unset
	Unset bool
}

func (s Setting) String() string {
	if s.Unset {
		return s.Name + " unset"
	}
	return s.Name + "=" + s.Value
}

// FlagError is an environment that chooses no phase, or a phase that no environment chooses.
type FlagError struct {
	Flags    Flags
	Settings []Setting // as they were found
	Reason   string
}

func (e *FlagError) Error() string {
	var found []string
	for _, s := range e.Settings {
		found = append(found, s.String())
	}
	if len(found) == 0 {
		return e.Reason
	}
	return strings.Join(found, ", ") + ": " + e.Reason
}

// state is what a row wants of a flag, or what was found.
type state uint8

const (
	unset state = iota
	zero
	one
)

func (s state) setting(name string) Setting {
	if s == unset {
		return Setting{Name: name, Unset: true}
	}
	return Setting{Name: name, Value: string('0' + rune(s-zero))}
}

// flagTable is one set of flags: their names, what each value counts as, and a row per phase.
type flagTable struct {
	names []string
	// same[i] is the value that counts as unset for the flag, because it says in words what its absence says; unset if
	// there is none.
	same []state
	rows []flagRow
}

type flagRow struct {
	states []state // in the order of the names
	phase  Phase
}

var flagTables = [...]flagTable{
	FlagsCache: {
		names: []string{CachePrefixEnabled, CacheDualWrite, CacheLegacyRead, CacheLegacyGone},
		same:  []state{zero, zero, one, zero},
		rows: []flagRow{
			{[]state{zero, zero, unset, unset}, Legacy},
			{[]state{zero, one, unset, unset}, Guard},
			{[]state{one, one, unset, unset}, Dual},
			{[]state{one, one, zero, unset}, Settled},
			{[]state{one, zero, unset, unset}, Drain},
			{[]state{one, zero, zero, unset}, Sealed},
			{[]state{one, zero, unset, one}, Prefixed},
		},
	},
	FlagsRL: {
		names: []string{RLPrefixEnabled, RLLegacyGone},
		// Unset and 0 are two phases here: legacy and hold.
		same: []state{unset, zero},
		rows: []flagRow{
			{[]state{unset, unset}, Legacy},
			{[]state{zero, unset}, Hold},
			{[]state{one, unset}, Move},
			{[]state{one, one}, Prefixed},
		},
	},
}

// table returns the set's table; FlagsNone has none.
func (f Flags) table() (flagTable, bool) {
	if _, ok := f.Strategy(); !ok {
		return flagTable{}, false
	}
	return flagTables[f], true
}

// FromFlags returns the phase that an environment chooses. A value that is neither 0 nor 1, and a combination that is not
// in the table, is a *[FlagError] that names the flags.
func FromFlags(f Flags, lookup func(string) (string, bool)) (Phase, error) {
	table, ok := f.table()
	if !ok {
		return 0, &FlagError{Flags: f, Reason: fmt.Sprintf("flags: %s choose no phase; write flags: cache or rl in the rule", f)}
	}
	found := make([]state, len(table.names))
	var settings []Setting
	for i, name := range table.names {
		value, set := lookup(name)
		switch {
		case !set:
			found[i] = unset
		case value == "0":
			found[i] = zero
		case value == "1":
			found[i] = one
		default:
			return 0, &FlagError{Flags: f, Reason: fmt.Sprintf("%s=%q is neither 0 nor 1; set one of them, or unset it", name, value)}
		}
		settings = append(settings, found[i].setting(name))
	}
	for _, row := range table.rows {
		if table.matches(row, found) {
			return row.phase, nil
		}
	}
	return 0, &FlagError{Flags: f, Settings: settings, Reason: "this combination chooses no phase; `rekey flags` lists those that do"}
}

func (t flagTable) matches(row flagRow, found []state) bool {
	for i, want := range row.states {
		if t.plain(i, want) != t.plain(i, found[i]) {
			return false
		}
	}
	return true
}

// plain is a value with those that mean the same made one.
func (t flagTable) plain(flag int, s state) state {
	if s == t.same[flag] {
		return unset
	}
	return s
}

// ToFlags returns the environment that chooses a phase.
func ToFlags(f Flags, p Phase) ([]Setting, error) {
	table, ok := f.table()
	if !ok {
		return nil, &FlagError{Flags: f, Reason: fmt.Sprintf("flags: %s choose no phase; write flags: cache or rl in the rule", f)}
	}
	for _, row := range table.rows {
		if row.phase != p {
			continue
		}
		var out []Setting
		for i, name := range table.names {
			out = append(out, row.states[i].setting(name))
		}
		return out, nil
	}
	return nil, &FlagError{Flags: f, Reason: fmt.Sprintf("no setting of %s chooses phase %s", strings.Join(table.names, ", "), p)}
}

// Gated reads [CacheGated]: whether a process waits for a gate's verdict before it makes a step that the flags ask for.
func Gated(lookup func(string) (string, bool)) (bool, error) {
	switch value, set := lookup(CacheGated); {
	case !set || value == "0":
		return false, nil
	case value == "1":
		return true, nil
	default:
		return false, &FlagError{Reason: fmt.Sprintf("%s=%q is neither 0 nor 1; set one of them, or unset it", CacheGated, value)}
	}
}
