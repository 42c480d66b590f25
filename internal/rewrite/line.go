package rewrite

// Role says what the reply of a line means.
type Role uint8

// The roles of lines.
const (
	// Answer is the application's command: its reply is the application's.
	Answer Role = iota + 1
	// Mirrored is the application's command on the other name. Its reply must be
	// equal to the answer; a difference is a divergence.
	Mirrored
	// Copied is C L P before a read or a write: a reply of 1 means that the value
	// was found only under its legacy name. An error means that it could not be
	// copied.
	Copied
	// Homed is C P L. Its reply means nothing.
	Homed
	// Brought is RENAMENX to the name that the phase uses. A reply of 1 means that
	// the key moved; an error, that there was nothing to move.
	Brought
	// Removed is UNLINK of a name that is dead after this command.
	Removed
	// Looked is EXISTS P: at 1 the Answer that follows answers, else the
	// Alternative behind it.
	Looked
	// Alternative is the application's command on the name that answers when
	// Looked was 0.
	Alternative
	// Counted is a command on all names of one logical key that answers with a
	// number; more than 1 counts as 1. The answer is the sum over all such lines.
	Counted
	// Tracked is EXISTS of a name that client-side caching must know of.
	Tracked
)

var roleNames = [...]string{Answer: "answer", Mirrored: "mirrored", Copied: "copied", Homed: "homed", Brought: "brought",
	Removed: "removed", Looked: "looked", Alternative: "alternative", Counted: "counted", Tracked: "tracked"}

// String is the role's name, for messages.
func (r Role) String() string {
	if int(r) < len(roleNames) && roleNames[r] != "" {
		return roleNames[r]
	}
	return "role " + string('0'+r%10)
}

// Line is one command to send.
type Line struct {
	Role Role
	// Rule is the rule of the key that the line serves, or NoRule.
	Rule       int
	start, end int
}

// Builder collects the lines of one command. Its memory is used again by the next
// command, so that a steady connection allocates nothing. The zero value is ready.
type Builder struct {
	// Lines are what to send, in order.
	Lines []Line
	// Transaction says that the lines must run without another client in between.
	Transaction bool
	// Recopied says that a written value is copied whole to the other name.
	Recopied bool
	args     [][]byte
}

// Reset empties the builder.
func (b *Builder) Reset() {
	clear(b.args)
	b.Lines, b.args, b.Transaction, b.Recopied = b.Lines[:0], b.args[:0], false, false
}

// Args are the arguments of line i, valid until the next Reset.
func (b *Builder) Args(i int) [][]byte {
	return b.args[b.Lines[i].start:b.Lines[i].end]
}

// add appends a line of the given words.
func (b *Builder) add(role Role, rule int, words ...[]byte) {
	start := len(b.args)
	b.args = append(b.args, words...)
	b.Lines = append(b.Lines, Line{Role: role, Rule: rule, start: start, end: len(b.args)})
}

// leg is the physical name that a copy of the application's command uses for a key.
type leg uint8

const (
	mainLeg   leg = iota // the name that the key's phase answers from
	legacyLeg            // L for every key that has two names
	targetLeg            // P for every key that has two names
)

// addCommand appends the application's command with its keys renamed.
func (b *Builder) addCommand(role Role, c *Command, l leg) {
	start := len(b.args)
	b.args = append(b.args, c.Args...)
	rule := NoRule
	for i := range c.Keys {
		k := &c.Keys[i]
		if !k.ruled() {
			continue
		}
		rule = k.Rule
		switch l {
		case mainLeg:
			b.args[start+k.Arg] = k.name(c.Args)
		case legacyLeg:
			b.args[start+k.Arg] = k.Legacy
		case targetLeg:
			b.args[start+k.Arg] = k.Target
		}
	}
	b.Lines = append(b.Lines, Line{Role: role, Rule: rule, start: start, end: len(b.args)})
}
