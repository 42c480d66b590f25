package command

import "strings"

// Command is what is known of one command or subcommand. Commands are shared
// and never change; do not write to one.
type Command struct {
	Name    string // lower case; a subcommand carries its container: "xgroup create"
	Arity   int    // number of arguments with the name; negative: at least that many
	Flags   Flags
	Group   string // the server's own grouping: "string", "stream"; empty if unknown
	Since   string // the version that brought it, by COMMAND DOCS; empty if unknown
	Servers Servers
	Specs   []Spec     // where the server says the keys are
	Subs    []*Command // subcommands of a container

	rule *rule // the judgement of families.go; nil for a learned command
}

// Flags are the flags of COMMAND that rekey knows.
type Flags uint32

// The flags of a command, under the names of COMMAND.
const (
	Write Flags = 1 << iota
	ReadOnly
	DenyOOM
	Blocking
	NoScript
	Admin
	PubSub
	MovableKeys
	Loading
	Stale
	Fast
	NoAuth
	NoMulti
	NoMandatoryKeys
	SkipMonitor
	SkipSlowlog
	AllowBusy
	NoAsyncLoading
	AskingFlag
	Module
)

// flagNames are the flags in the order of their bits.
var flagNames = [...]string{
	"write", "readonly", "denyoom", "blocking", "noscript", "admin", "pubsub", "movablekeys",
	"loading", "stale", "fast", "no_auth", "no_multi", "no_mandatory_keys", "skip_monitor",
	"skip_slowlog", "allow_busy", "no_async_loading", "asking", "module",
}

// String lists the flags by the server's names.
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// ParseFlag returns the flag of that name. A flag that rekey does not know is
// false: servers add flags, and none so far changed where keys are.
func ParseFlag(name string) (Flags, bool) {
	for i, n := range flagNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Servers is the set of servers whose own description had the command.
type Servers uint8

// The servers that the table was made from. Later stands for commands of later
// versions, kept by hand in gen/supplement.json.
const (
	Redis70 Servers = 1 << iota
	Valkey80
	Redis80
	Later
)

// Container reports whether the command only holds subcommands. [Lookup]
// gives a container when the subcommand is missing or unknown; an unknown one
// can be learned from the server under its name "container|subcommand".
func (c *Command) Container() bool { return len(c.Subs) > 0 }

// ArityHolds reports whether the server would accept that many arguments.
func (c *Command) ArityHolds(n int) bool {
	if c.Arity < 0 {
		return n >= -c.Arity
	}
	return c.Arity == 0 || n == c.Arity
}
