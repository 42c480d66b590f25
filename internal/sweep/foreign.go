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
	plan  *plan.Plan
	names []foreignNames
}

// ForeignTo makes the recogniser for a plan.
func ForeignTo(p *plan.Plan) *Foreign {
	return &Foreign{p, foreignTemplates(p)}
}

// Environment returns the other environment that a name belongs to, and whether it is a control record; false for a name
// of this one and of none. A name of a rule is this one's, whatever another rule's target makes of it.
func (f *Foreign) Environment(name []byte) (environment string, control, ok bool) {
	if rule, _ := f.plan.Names().Find(name); rule >= 0 {
		return "", false, false
	}
	for _, n := range f.names {
		if env, ok := n.environment(name); ok {
			return string(env), n.control, string(env) != f.plan.Environment
		}
	}
	return "", false, false
}

// globs are the patterns of all names that can be another environment's.
func (f *Foreign) globs() []string {
	var out []string
	for _, n := range f.names {
		out = append(out, string(append(keyname.AppendGlobLiteral(nil, n.prefix), '*')))
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

// foreignNames recognises names that some environment has.
type foreignNames struct {
	prefix      []byte // what all of them begin with, up to the first variable
	environment func(name []byte) ([]byte, bool)
	control     bool
}

// controlNames are the names behind a control prefix, as templates.
var controlNames = []string{
	"fleet", "conns:{name...}", "phase", "lock", "gen", "sweep:{name...}", "trash:{name...}", "flags:{name...}", "audit", "events",
}

// foreignTemplates are the control and target names with the environment left open. A target without {env} tells no
// environments apart.
func foreignTemplates(p *plan.Plan) []foreignNames {
	var out []foreignNames
	for _, n := range controlNames {
		if open, ok := p.AnyControl(n); ok {
			out = append(out, foreignNames{open.Prefix(), open.EnvironmentOf, true})
		}
	}
	for i, r := range p.Rules {
		target := p.Names().Pair(i).Target()
		if open, ok := target.AnyEnvironment(); ok {
			out = append(out, foreignNames{open.Prefix(), open.EnvironmentOf, false})
			continue
		}
		// Some names have more than one reading, as those of cw-{env}-{id}. One is enough to know that they are not ours.
		before, after, ok := strings.Cut(r.TargetText, "{env}")
		if border, _, _ := strings.Cut(after, "{"); !ok || strings.ContainsAny(before, "{}") || border == "" {
			continue // nothing says where the environment begins, or where it ends
		}
		out = append(out, foreignNames{[]byte(before), func(name []byte) ([]byte, bool) {
			return someEnvironment(name, []byte(before), []byte(p.Environment), target)
		}, false})
	}
	return out
}

// someEnvironment is the shortest one with which a name can be read that is not ours. What is behind the environment is the same
// in all of them: it is asked of our own.
func someEnvironment(name, before, own []byte, target *keyname.Template) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(name, before)
	for n := 1; ok && n <= len(rest) && keyname.ValidEnvironment(string(rest[:n])); n++ {
		if target.Match(slices.Concat(before, own, rest[n:])) {
			return rest[:n], true
		}
	}
	return nil, false
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
