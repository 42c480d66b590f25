package rewrite

import (
	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// NoRule is the Rule of a key that no rule matches.
const NoRule = -1

// Key is one occurrence of a key in a command.
type Key struct {
	// Arg is the key's index in the command's arguments.
	Arg int
	// Rule is the index of the key's rule, or NoRule.
	Rule int
	// Phase is what this instance does with the rule's keys now.
	Phase phase.Phase
	// Write says that the command may change or remove the key.
	Write bool
	// Legacy and Target are the two physical names; nil without a rule.
	Legacy, Target []byte
}

// ruled says that the key belongs to a rule.
func (k *Key) ruled() bool { return k.Rule != NoRule }

// name is the physical name on which the application's command runs.
func (k *Key) name(args [][]byte) []byte {
	switch {
	case !k.ruled():
		return args[k.Arg]
	case treatments[k.Phase].onTarget:
		return k.Target
	default:
		return k.Legacy
	}
}

// other is the physical name that name does not answer.
func (k *Key) other() []byte {
	if treatments[k.Phase].onTarget {
		return k.Legacy
	}
	return k.Target
}

// Server is what the rewriting must know of the server. The zero value is the
// careful one for TTLs only; a caller that does not know whether the server
// evicts sets Evicts.
type Server struct {
	// Frozen says that the clock stands still inside a transaction for relative
	// TTLs too: Redis 7.2 and later, Valkey. Before, "SET k v PX 10" on two names
	// of one transaction can give two expiry times.
	Frozen bool
	// Evicts says that the server may drop a key for want of memory, so that one
	// copy of two can vanish without a command.
	Evicts bool
}

// Command is one command of the application with what is known of it.
type Command struct {
	Args [][]byte
	Use  command.Use
	// Keys are the occurrences of keys in the order of the arguments.
	Keys []Key
	// Tracking says that client-side caching is on for the connection.
	Tracking bool
	// Scripted says that the lines will run as one script: no line may itself be
	// a script, and no line may block.
	Scripted bool
	// Resp is the protocol of the connection, 2 or 3. Scripts need it.
	Resp   int
	Server Server
}
