package cli

import (
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// right is a command that the application's user needs in some phases, because rekey sends it
// beside the application's own. What the application sends itself is the application's affair.
type right struct {
	word   string        // as an ACL rule names it, without the +
	phases []phase.Phase // where it is needed
	why    string
	// probe is the command for ACL DRYRUN; nameL and nameP stand for the two names of a key.
	probe []string
	// before72: servers from 7.2 on do without it.
	before72 bool
}

// What stands for a key's two names in a probe.
const (
	nameL = "\x00L"
	nameP = "\x00P"
)

var (
	// everyPhase is all in which something is under way.
	everyPhase = []phase.Phase{phase.Guard, phase.Dual, phase.Settled, phase.Drain, phase.Sealed, phase.Hold, phase.Move}
	bothCopies = []phase.Phase{phase.Dual, phase.Settled}
	// A step leads away from a parked phase too.
	alsoParked = slices.Concat([]phase.Phase{phase.Legacy, phase.Prefixed}, everyPhase)
	// In the others a blocking command is tried again and again, and ends by itself.
	serverWaits = []phase.Phase{phase.Legacy, phase.Guard, phase.Settled, phase.Sealed, phase.Prefixed}
)

// rights is what rekey adds to an application's commands. The test gives a user exactly this and
// its own commands, walks through every phase, and takes away one right after the other.
var rights = []right{
	{word: "multi", phases: everyPhase, why: "both names in one transaction", probe: []string{"MULTI"}},
	{word: "exec", phases: everyPhase, why: "both names in one transaction", probe: []string{"EXEC"}},
	{word: "unlink", phases: []phase.Phase{phase.Guard, phase.Dual, phase.Settled, phase.Drain, phase.Sealed},
		why: "removes the copy that a write made old", probe: []string{"UNLINK", nameL, nameP}},
	{word: "copy", phases: []phase.Phase{phase.Dual, phase.Settled, phase.Drain},
		why: "gives a key its other copy", probe: []string{"COPY", nameL, nameP}},
	{word: "renamenx", phases: []phase.Phase{phase.Hold, phase.Move, phase.Drain},
		why: "moves a key; in drain where memory is full", probe: []string{"RENAMENX", nameL, nameP}},
	{word: "exists", phases: everyPhase, why: "looks which name exists, and whether BLPOP and its like would find something", probe: []string{"EXISTS", nameL, nameP}},
	{word: "watch", phases: []phase.Phase{phase.Dual, phase.Drain, phase.Hold, phase.Move},
		why: "reads both names at one moment where nothing can be written", probe: []string{"WATCH", nameL, nameP}},
	{word: "eval", phases: everyPhase, why: "keeps a WATCH of the application; XADD with *, SPOP", probe: []string{"EVAL", "return 1", "2", nameL, nameP}},
	{word: "xinfo|stream", phases: everyPhase, why: "finds where XREAD BLOCK with $ begins", probe: []string{"XINFO", "STREAM", nameL}},
	{word: "xinfo|groups", phases: everyPhase, why: "looks whether XREADGROUP with BLOCK would find something", probe: []string{"XINFO", "GROUPS", nameL}},
	{word: "xrange", phases: everyPhase, why: "looks whether XREADGROUP with BLOCK would find something", probe: []string{"XRANGE", nameL, "-", "+"}},
	{word: "srem", phases: bothCopies, why: "what SPOP took is taken from the other copy", probe: []string{"SREM", nameL, "member"}},
	{word: "xlen", phases: bothCopies, why: "trims both copies of a stream alike", probe: []string{"XLEN", nameP}},
	{word: "xtrim", phases: bothCopies, why: "trims both copies of a stream alike", probe: []string{"XTRIM", nameL, "MAXLEN", "1"}},
	{word: "pexpiretime", phases: bothCopies, why: "gives both copies one expiry where memory is full", probe: []string{"PEXPIRETIME", nameP}, before72: true},
	{word: "pexpireat", phases: bothCopies, why: "gives both copies one expiry where memory is full", probe: []string{"PEXPIREAT", nameL, "1"}, before72: true},
	{word: "persist", phases: bothCopies, why: "gives both copies one expiry where memory is full", probe: []string{"PERSIST", nameL}, before72: true},
	{word: "info", phases: everyPhase, why: "asks for version and eviction policy; without it the careful way is taken", probe: []string{"INFO"}},
	{word: "client|id", phases: alsoParked, why: "knows its connections", probe: []string{"CLIENT", "ID"}},
	{word: "client|kill", phases: alsoParked, why: "makes sure that a closed connection is gone before a step", probe: []string{"CLIENT", "KILL", "ID", "0"}},
	{word: "client|unblock", phases: serverWaits, why: "ends a blocking command at a step", probe: []string{"CLIENT", "UNBLOCK", "0"}},
	{word: "command", phases: alsoParked, why: "asks for the keys of commands that it does not know; at legacy of those with a target name", probe: []string{"COMMAND", "INFO", "get"}},
}

// rightsIn are the rights that a phase needs.
func rightsIn(p phase.Phase) []right {
	var out []right
	for _, r := range rights {
		if slices.Contains(r.phases, p) {
			out = append(out, r)
		}
	}
	return out
}

// touches says which names of a key a phase touches.
func touches(p phase.Phase) (legacy, target bool) {
	return p != phase.Prefixed, p != phase.Legacy
}

// aclGrant is what one user needs in one phase: rights that are added to those that it has.
type aclGrant struct {
	patterns []string // key patterns, with their ~
	words    []string // command rules, with their +
}

// grantFor is what the rules need when all of them are in the given phases, by strategy. The order
// is that of the plan and of the table.
func grantFor(p *plan.Plan, phases map[phase.Strategy][]phase.Phase) aclGrant {
	var g aclGrant
	var legacies, targets []string
	needed := make(map[string]bool)
	for i, rule := range p.Rules {
		pair := p.Names().Pair(i)
		for _, ph := range phases[rule.Strategy] {
			legacy, target := touches(ph)
			if legacy {
				legacies = append(legacies, pattern(pair.Legacy()))
			}
			if target {
				targets = append(targets, pattern(pair.Target()))
			}
			for _, r := range rightsIn(ph) {
				needed[r.word] = true
			}
		}
	}
	for _, s := range slices.Concat(legacies, targets) {
		if !slices.Contains(g.patterns, s) {
			g.patterns = append(g.patterns, s)
		}
	}
	for _, r := range rights {
		if needed[r.word] {
			g.words = append(g.words, "+"+r.word)
		}
	}
	return g
}

// pattern is a template as an ACL names keys. A pattern can hold neither a space nor a NUL, so any
// byte may stand there.
func pattern(t *keyname.Template) string {
	return "~" + strings.Map(func(r rune) rune {
		if r == 0 || r == ' ' || r >= '\t' && r <= '\r' {
			return '?'
		}
		return r
	}, string(t.Glob()))
}

// line is the command that gives the rights to a user.
func (g aclGrant) line(user string) string {
	words := []string{"ACL", "SETUSER", user}
	for _, p := range g.patterns {
		words = append(words, shellWord(p))
	}
	return strings.Join(append(words, g.words...), " ")
}

// args is the same as the server reads it.
func (g aclGrant) args(user string) []string {
	return slices.Concat([]string{"ACL", "SETUSER", user}, g.patterns, g.words)
}

// shellWord quotes a word that redis-cli would not read as it stands.
func shellWord(w string) string {
	if !strings.ContainsAny(w, "\"'\\ \t\r\n") {
		return w
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
}
