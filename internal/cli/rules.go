package cli

import (
	"strings"

	"github.com/classwaves/rekey/plan"
)

// ruleIndex finds a rule of the plan.
func ruleIndex(p *plan.Plan, name string) (int, error) {
	if i, ok := p.Index(name); ok {
		return i, nil
	}
	return 0, misused("one of "+strings.Join(ruleNames(p), ", "), "%s has no rule %q", p.File, name)
}

func ruleNames(p *plan.Plan) []string {
	var names []string
	for _, r := range p.Rules {
		names = append(names, r.Name)
	}
	return names
}

// chosenRules are the rules that a command line names, or all of them with --all.
func chosenRules(p *plan.Plan, names []string, all bool) ([]int, error) {
	switch {
	case all && len(names) > 0:
		return nil, misused("either --all or the names", "both --all and rules by name")
	case !all && len(names) == 0:
		return nil, misused("--all, or one of "+strings.Join(ruleNames(p), ", "), "no rule is named")
	}
	if all {
		names = ruleNames(p)
	}
	var out []int
	for _, name := range names {
		i, err := ruleIndex(p, name)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// variables gives the variables of a template and what stands between them: literals are as they
// are in a name, the environment filled in.
func variables(template, env string, variable func(name string) string) string {
	var out strings.Builder
	for rest := template; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			out.WriteByte(rest[0])
			rest = rest[2:]
		case rest[0] == '{':
			name, after, _ := strings.Cut(rest[1:], "}")
			if name == "env" {
				out.WriteString(env)
			} else {
				out.WriteString(variable(name))
			}
			rest = after
		default:
			out.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	return out.String()
}

// masked is a template with its environment filled in: what is printed in place of a key's name,
// which holds the identifier of a session.
func masked(template, env string) string {
	return variables(template, env, func(name string) string { return "{" + name + "}" })
}
