package difftest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// allowed are the differences between the engine and a bare server that these tests let pass:
// all of them, each with its reason. What is not here must be equal byte for byte.
//
// DBSIZE, which counts both copies, and INFO are not sent: they name no key.
var allowed = []struct {
	commands string
	slack    slack
	reason   string
}{
	{"smembers sunion sdiff sinter hkeys hvals keys", equalUnordered,
		"order of unordered types: it hangs on how the hash table grew, and on a seed of each server"},
	{"hgetall", equalPairsUnordered,
		"order of unordered types"},
	{"hscan zscan", equalPageOfPairs,
		"order of unordered types, and cursors"},
	{"sscan", equalPage,
		"order of unordered types, and cursors"},
	{"scan", equalPageOnce,
		"cursors, and a name may come twice: once for each copy"},
	{"srandmember hrandfield zrandmember randomkey vrandmember", sameShape,
		"random picks"},
	{"spop", sameShape,
		"random picks; the bare server is told to remove the engine's, and must have had them"},
	{"ttl pttl expiretime pexpiretime httl hpttl hexpiretime hpexpiretime", equalWithinSkew,
		"times: a relative one counts from when the command ran"},
	{"xadd xrange xrevrange xread xreadgroup xclaim xautoclaim xpending xinfo|stream xinfo|groups xinfo|consumers", equalButTimes,
		"generated ids, and times: of delivery, of when a consumer was seen, of idling"},
	{"object|idletime object|freq object|refcount object|encoding", sameShape,
		"OBJECT: a copy is touched by reads of its own, and may be encoded as if it was new"},
	{"memory|usage", sameShape,
		"MEMORY: the name is a part of it"},
	{"debug", anyReply,
		"DEBUG: addresses, digests of unordered types that hold the name, and keys that have expired and are still there"},
	{"dump", sameShape,
		"order of unordered types, in the payload"},
	{"exec", equalAtSecondTry,
		"a WATCH may find a name touched although its value is the same as before: a write that changed nothing was copied, " +
			"or a read of several keys moved one. EXEC answers nil then, and the test sends the transaction again, as an application would"},
	{betweenWatchAndMulti, asFromLua,
		"a read of two names goes through a script there, since an EXEC would end the watch, or be refused: Lua's tables have no order, " +
			"hold a key once, it prints doubles of RESP3 its own way, and has one null for all"},
	{"vinfo vlinks vemb vsim", sameShape,
		"random picks: the graph of a vector set is built with random numbers"},
}

// slacks are the allowed differences by the command's name.
var slacks = func() map[string]slack {
	by := make(map[string]slack)
	for _, a := range allowed {
		if a.commands == betweenWatchAndMulti {
			continue // judge knows where that is
		}
		for name := range strings.FieldsSeq(a.commands) {
			by[strings.Replace(name, "|", " ", 1)] = a.slack
		}
	}
	return by
}()

// betweenWatchAndMulti stands in the list for all commands that are sent there.
const betweenWatchAndMulti = "(between WATCH and MULTI, and at full memory)"

// slackOf is what may differ in the replies of the command with that name in the table.
func slackOf(name string) slack {
	if s, ok := slacks[name]; ok {
		return s
	}
	return equalBytes
}

// nameOf is the name of a command in the table; it is empty for one that is not there.
func nameOf(words []string) string {
	c, ok := command.Lookup(asArgs(words...))
	if !ok {
		return ""
	}
	return c.Name
}

// who answers a command with OOM.
type who int

const (
	engineRefuses who = iota // and the bare server does not
	bareRefuses              // and the engine does not
	bothRefuse               // in other words
)

// refusal is a command that is answered with OOM.
type refusal struct {
	words        []string
	multi, watch bool
	class        command.Class
	keys         int
	phases       []phase.Phase // of its keys that have a rule
}

func (r refusal) in(phases ...phase.Phase) bool {
	return slices.ContainsFunc(r.phases, func(p phase.Phase) bool { return slices.Contains(phases, p) })
}

func (r refusal) writes() bool { return r.class != command.ClassRead && r.class != command.ClassCount }

// allowedAtFullMemory are the refusals that these tests let pass. Of what the engine refuses nothing
// has run, and what the bare server alone refuses is sent to it again with memory: the data at the end
// show both.
var allowedAtFullMemory = []struct {
	who    who
	reason string
	when   func(r refusal) bool
}{
	{engineRefuses, "inside the application's MULTI the copy that a key needs first is refused, and so the transaction",
		func(r refusal) bool { return r.multi && r.in(phase.Dual, phase.Settled, phase.Drain) }},
	{engineRefuses, "between WATCH and MULTI a write goes as a script, of which the copy is refused",
		func(r refusal) bool { return r.watch && r.writes() && r.in(phase.Dual, phase.Settled, phase.Drain) }},
	{engineRefuses, "what the other copy becomes is only known by copying it again",
		func(r refusal) bool { return r.class == command.ClassRecopy && r.in(phase.Dual, phase.Settled) }},
	{engineRefuses, "a script of the application's cannot be a part of the script that is sent in place of a transaction",
		func(r refusal) bool { return runsScript(r.words) }},
	{engineRefuses, "a blocking command of which the timeout is malformed: it is not run in the form that does not wait",
		func(r refusal) bool { return blocks(r.words) && !validTimeout(r.words) }},
	{engineRefuses, "a write of several keys of which not all have two equal copies",
		func(r refusal) bool { return r.keys > 1 && r.writes() && r.in(phase.Dual, phase.Settled) }},
	{bareRefuses, "between WATCH and MULTI a write goes as a script, which brings the key first: a server refuses for want of " +
		"memory what a script does before its first write, and lets it go on behind that",
		func(r refusal) bool { return r.watch && !r.multi && r.writes() && r.in(phase.Hold, phase.Move) }},
	{bothRefuse, "a script of the application's: the server says where in the script it was refused, or that it was before it began",
		func(r refusal) bool { return runsScript(r.words) }},
}

func blocks(words []string) bool {
	c, ok := command.Lookup(asArgs(words...))
	return ok && c.Use(asArgs(words...)).Block > 0
}

func validTimeout(words []string) bool {
	c, _ := command.Lookup(asArgs(words...))
	seconds, err := strconv.ParseFloat(words[c.Use(asArgs(words...)).Block], 64)
	return err == nil && seconds >= 0
}
