package cli

import (
	"slices"
	"strings"

	"github.com/classwaves/rekey/plan"
)

const (
	// fleetLine and operatorLine take the place of a phase in the lines that are of none.
	fleetLine, operatorLine = "fleet", "operator"
	// operatorUser is the name in the operator's line.
	operatorUser = "rekey"
	// noTouch is a right that servers before 7.2 do not know, and refuse the whole line for. Without it what a sweep reads
	// counts as used.
	noTouch = "+client|no-touch"
)

// fleetWords are the commands with which an application's user keeps its records under the control prefix. Most of them
// are sent by scripts, to which the server applies the rights of who sends them.
var fleetWords = strings.Fields("+del +eval +evalsha +get +hdel +hexists +hget +hgetall +hlen +hset +hsetnx +hvals +info +persist +ping " +
	"+publish +sadd +scan +scard +select +set +srem +subscribe +sunionstore +time +unlink +client|id +client|kill +client|setname")

// operatorWords are the commands of the user under whom `rekey run`, its sweeps, its audit and the other commands of the
// tool run; `rekey fence --execute`, which writes ACLs, wants an administrator. Verify reads values of every type, with
// commands that not every server has.
var operatorWords = strings.Fields("+@read -keys +copy +del +eval +evalsha +exec +hdel +hset +hsetnx +info +multi +persist +pexpireat +ping " +
	"+publish +rename +renamenx +sadd +select +set +srem +subscribe +sunionstore +time +unlink +unwatch +wait +watch +xadd " +
	"+client|id +client|kill +client|list +client|setname +command|info +monitor +acl|dryrun +acl|getuser +acl|users")

// fleetGrant is what an instance's user needs beside the rights of the phases.
func fleetGrant(p *plan.Plan) aclGrant {
	return aclGrant{patterns: controlPatterns(p), words: fleetWords}
}

// operatorGrant is what the operator's user needs, and no other rights.
func operatorGrant(p *plan.Plan) aclGrant {
	g := aclGrant{words: operatorWords}
	for i := range p.Rules {
		pair := p.Names().Pair(i)
		g.patterns = append(g.patterns, pattern(pair.Legacy()), pattern(pair.Target()))
	}
	g.patterns = append(slices.Compact(g.patterns), controlPatterns(p)...)
	return g
}

// controlPatterns are the keys and the channel of the records.
func controlPatterns(p *plan.Plan) []string {
	escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p.ControlPrefix())
	return []string{"~" + escaped + "*", "&" + escaped + "events"}
}
