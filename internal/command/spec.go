package command

import "strings"

// Spec is a key specification of COMMAND INFO: where a search for keys begins
// and how the keys follow from there.
type Spec struct {
	Flags SpecFlags

	// The search begins at argument Index, or behind the word Keyword, which is
	// looked for from argument From on (from the end when negative).
	Index   int
	Keyword string
	From    int

	// A range: keys from there to Last (relative to the first key; negative: to
	// the end of the arguments) in steps of Step. With Limit n only an n-th of
	// the remaining arguments are keys.
	Last  int
	Step  int
	Limit int

	// With KeyNum, argument NumAt (relative to the begin) holds the number of
	// keys and the first key is at FirstAt.
	KeyNum  bool
	NumAt   int
	FirstAt int
}

// SpecFlags say what a command does with the keys of one [Spec].
type SpecFlags uint16

// The flags of a key specification, under the server's names. Unknown is set
// when the server cannot say where the keys are.
const (
	RO SpecFlags = 1 << iota
	RW
	OW
	RM
	Accesses
	Updates
	Inserts
	Deletes
	NotKey
	Incomplete
	VariableFlags
	Unknown
)

var specFlagNames = [...]string{
	"RO", "RW", "OW", "RM", "access", "update", "insert", "delete",
	"not_key", "incomplete", "variable_flags", "unknown",
}

// ParseSpecFlag returns the flag of that name.
func ParseSpecFlag(name string) (SpecFlags, bool) {
	for i, n := range specFlagNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// String lists the flags by the server's names.
func (f SpecFlags) String() string {
	var names []string
	for i, name := range specFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// access is what the flags say of the key.
func (f SpecFlags) access() Access {
	switch {
	case f&RO != 0:
		return AccessRead
	case f&RW != 0:
		return AccessRead | AccessWrite
	case f&(OW|RM) != 0:
		return AccessWrite
	default:
		// Flags of a server that describes its keys in another way: the worst.
		return AccessRead | AccessWrite
	}
}
