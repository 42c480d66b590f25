package sweep

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/plan"
)

// Foreign recognises names of other environments: their target names and their control records, by the plan's templates
// with the environment left open. Environments that share a database share the legacy names, and nothing tells whose a
// legacy key is; so a rule leaves its first phases only with the operator's word that they are all its own
// ([Options.ClaimSharedLegacy]). An environment that has neither target names nor control records yet cannot be seen.
type Foreign struct {
	own   string
	names []foreignNames
}

// ForeignTo makes the recogniser for a plan.
func ForeignTo(p *plan.Plan) *Foreign {
	return &Foreign{own: p.Environment, names: foreignTemplates(p)}
}

// Environment returns the other environment that a name belongs to, and whether it is a control record; false for a name
// of this one and of none.
func (f *Foreign) Environment(name []byte) (environment string, control, ok bool) {
	for _, n := range f.names {
		if env, ok := n.environment(name); ok {
			return env, n.control, env != f.own
		}
	}
	return "", false, false
}

// globs are the patterns of all names that can be another environment's.
func (f *Foreign) globs() []string {
	var out []string
	for _, n := range f.names {
		out = append(out, string(append(keyname.AppendGlobLiteral(nil, n.before), '*')))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// find looks for names of other environments in a database and stops at the first page that has any: one name is reason
// enough, and an environment that has moved may have millions.
func (f *Foreign) find(ctx context.Context, l *link, page int) (map[string]int, error) {
	found := make(map[string]int)
	for _, glob := range f.globs() {
		for cursor := uint64(0); ; {
			names, next, err := l.client.Scan(ctx, cursor, glob, int64(page)).Result()
			if err != nil {
				return nil, serverError("SCAN", err)
			}
			for _, name := range names {
				if env, _, ok := f.Environment([]byte(name)); ok {
					found[env]++
				}
			}
			if len(found) > 0 {
				return found, nil
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
	}
	return found, nil
}

// foreignNames recognises names that some environment has: what is before the environment, what is after it, and how the
// rest of the name must be.
type foreignNames struct {
	before, after []byte
	rest          func([]byte) bool
	control       bool
}

// environment returns whose name it is.
func (f foreignNames) environment(name []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(name, f.before)
	if !ok {
		return "", false
	}
	n := bytes.IndexFunc(rest, func(r rune) bool {
		return !(r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
	if n <= 0 {
		return "", false
	}
	env := rest[:n]
	if rest, ok = bytes.CutPrefix(rest[n:], f.after); !ok || !f.rest(rest) {
		return "", false
	}
	return string(env), true
}

// controlNames are the names behind a control prefix.
var controlNames = []string{"fleet", "conns:", "phase", "lock", "gen", "sweep:", "trash:", "flags:", "audit", "events"}

// foreignTemplates are the target and control names with the environment left open. A target without {env}, or with
// variables before it, tells no environments apart.
func foreignTemplates(p *plan.Plan) []foreignNames {
	var out []foreignNames
	// The prefix is known only with its environment filled in.
	if before, after, ok := strings.Cut(p.ControlPrefix(), p.Environment); ok {
		out = append(out, foreignNames{before: []byte(before), after: []byte(after), control: true, rest: func(rest []byte) bool {
			return slices.ContainsFunc(controlNames, func(n string) bool {
				return string(rest) == n || strings.HasSuffix(n, ":") && bytes.HasPrefix(rest, []byte(n))
			})
		}})
	}
	for i, r := range p.Rules {
		before, after, ok := strings.Cut(r.TargetText, "{env}")
		if !ok || strings.ContainsAny(before, "{}") {
			continue
		}
		// What is behind the environment is the same in all of them: it is asked of our own.
		ours, target := []byte(before+p.Environment), p.Names().Pair(i).Target()
		border, _, _ := strings.Cut(after, "{")
		if border == "" {
			continue // nothing says where the environment ends
		}
		out = append(out, foreignNames{before: []byte(before), rest: func(rest []byte) bool {
			return target.Match(slices.Concat(ours, rest))
		}})
	}
	return out
}

// SharedError is a job that would take legacy keys for this environment's own in a database that has names of others too.
type SharedError struct {
	Job, Rule    string
	Environments []string // the others, as far as they were met
}

func (e *SharedError) Error() string {
	return fmt.Sprintf("rekey: %s of rule %q: %s", e.Job, e.Rule, sharedReason(e.Environments))
}

// sharedReason says why nothing is done, and what to do.
func sharedReason(environments []string) string {
	return presence(environments) + " in the same database, and nothing tells whose a legacy key is; give each environment a database of its own, " +
		"or add --claim-shared-legacy if the legacy names are all this environment's"
}

// claimedNote says in spite of whom something was done.
func claimedNote(environments []string) string {
	return "the legacy names were claimed although " + presence(environments) + " in the same database: from now on no process of another environment may use a legacy name"
}

func presence(environments []string) string {
	quoted := make([]string, 0, len(environments))
	for _, env := range environments {
		quoted = append(quoted, strconv.Quote(env))
	}
	if len(quoted) == 1 {
		return "environment " + quoted[0] + " has names"
	}
	return "environments " + strings.Join(quoted, " and ") + " have names"
}

// others are the other environments with names in the databases of the run.
func (r *run) others(ctx context.Context, links []*link) ([]string, error) {
	f := ForeignTo(r.Plan)
	all := make(map[string]int)
	for _, l := range links {
		found, err := f.find(ctx, l, r.Page)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	return slices.Sorted(maps.Keys(all)), nil
}
