package difftest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/command"
)

// uncovered are the commands that take keys and are not sent by these tests, with the reason.
var uncovered = map[string]string{
	"migrate": "refused for rules that are not parked: it takes keys to another server",
	"move":    "refused for rules that are not parked: it takes a key to another database",

	"delex": laterServer, "delifeq": laterServer, "digest": laterServer, "msetex": laterServer,
	"xackdel": laterServer, "xcfgset": laterServer, "xdelex": laterServer,
	"arcount": laterServer, "ardel": laterServer, "ardelrange": laterServer, "arget": laterServer, "argetrange": laterServer,
	"argrep": laterServer, "arinfo": laterServer, "arinsert": laterServer, "arlastitems": laterServer, "arlen": laterServer,
	"armget": laterServer, "armset": laterServer, "arnext": laterServer, "arop": laterServer, "arring": laterServer,
	"arscan": laterServer, "arseek": laterServer, "arset": laterServer,
}

const laterServer = "no server that the tests run on has it"

// Forms of covered commands that are not sent:
//   - COPY with DB, SORT with BY or GET: refused for rules that are not parked.
//   - Blocking commands, scripts, functions and DEBUG between WATCH and MULTI: refused (see docs/limits.md).
//   - DEBUG at full memory: no script may run it.
//   - RANDOMKEY inside MULTI: it cannot be asked again there for a name that is shown.
//   - Unknown subcommands of OBJECT, MEMORY, XGROUP and XINFO: refused for rules that are not parked.
//   - SPOP of some of a set's members inside MULTI: the bare server cannot be given the same picks.
//   - Scripts that give back or make up names of keys: they see physical names.

// oneOutcome are the commands that cannot both succeed and fail here, with the reason.
var oneOutcome = map[string]string{
	"object freq": "answers under an LFU policy alone",
}

// TestEveryCommandIsCoveredOrListed fails for a command with keys of which nobody has thought
// here.
func TestEveryCommandIsCoveredOrListed(t *testing.T) {
	sent := map[string]bool{"watch": true} // sequence_test.go
	for _, line := range append(callLines(calls), callLines(vectorCalls)...) {
		name := nameOf(strings.Fields(line))
		if name == "" {
			t.Errorf("%q is no command of the table", line)
		}
		sent[name] = true
	}
	for _, c := range command.All() {
		listed := uncovered[c.Name] != ""
		switch {
		case !c.TakesKeys():
		case !sent[c.Name] && !listed:
			t.Errorf("%s takes keys and is neither sent nor listed as uncovered", c.Name)
		case sent[c.Name] && listed:
			t.Errorf("%s is sent and listed as uncovered", c.Name)
		}
	}
}
