package intercept_test

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestRefusalsByReason: every error of rekey's own is counted once, under its reason and where its rule
// is known under the rule.
func TestRefusalsByReason(t *testing.T) {
	for _, c := range []struct {
		reason   intercept.Reason
		ruled    bool
		commands string // one on each line
	}{
		{intercept.ReasonReach, true, "SORT a:1 BY w_*"},
		{intercept.ReasonReach, true, "SWAPDB 0 1"},
		{intercept.ReasonUnknown, false, "MULTI\nNOSUCHCOMMAND a:1"},
		{intercept.ReasonTransaction, false, "MULTI\nHELLO 3"},
		{intercept.ReasonTransaction, true, "WATCH a:1\nBLPOP a:1 0"},
		{intercept.ReasonTransaction, true, "WATCH a:1\nEVAL return 1 a:1"},
		{intercept.ReasonServer, true, "AUTH limited pw\nGET a:1\nGET a:1"},
		{intercept.ReasonServer, true, "AUTH limited pw\nGET a:1\nBLPOP a:1 0"},
		{intercept.ReasonClosed, true, "GET b:1"},
		{intercept.ReasonClosed, true, "BLPOP b:1 0"},
	} {
		name := strings.ReplaceAll(c.commands, "\n", ", ")
		t.Run(name, func(t *testing.T) {
			server := redistest.Shared(t)
			if v := server.Conn().Do("ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-multi", "-exec"); v.IsError() {
				t.Fatal(string(v.Str))
			}
			rules := testRules(t)
			rules.SetTable(&intercept.Table{Version: 2, Phases: []phase.Phase{phase.Dual, phase.Dual}, Closed: []string{"", "rekey: closed for a test"}})
			conn := redistest.NewConn(t, dial(t, server, rules))
			refused := 0
			for line := range strings.Lines(c.commands) {
				words := strings.Fields(line)
				if words[0] == "EVAL" {
					words = []string{"EVAL", "return 1", "1", "a:1"}
				}
				if v := conn.Do(words...); v.IsError() && strings.HasPrefix(string(v.Str), "rekey:") {
					refused++
				}
			}
			if words := strings.Fields(name); words[0] == "MULTI," {
				if v := conn.Do("EXEC"); !v.IsError() {
					t.Error("EXEC after a refused command succeeds")
				}
			}
			if refused == 0 {
				t.Fatal("nothing was refused")
			}
			var ruled uint64
			for i := range rules.Stats.Rules {
				ruled += rules.Stats.Rules[i].Refused.By(c.reason)
			}
			other := rules.Stats.Refused.By(c.reason)
			if !c.ruled {
				ruled, other = other, ruled
			}
			if ruled != uint64(refused) || other != 0 {
				t.Errorf("%d refused, counted as %v: %d where it belongs, %d where it does not", refused, c.reason, ruled, other)
			}
			total := rules.Stats.Refused.Load()
			for i := range rules.Stats.Rules {
				total += rules.Stats.Rules[i].Refused.Load()
			}
			if total != uint64(refused) {
				t.Errorf("%d in all, want %d", total, refused)
			}
		})
	}
}
