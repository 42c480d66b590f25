package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// FenceOptions are for whom a fence is built.
type FenceOptions struct {
	// Users are the users that are fenced in; none: all that the server has and that may touch a dead name.
	Users []string
	// Keep are key patterns, without ~, that the users need beside the names of the plan.
	Keep []string
	// Phases say where rules are, whatever their targets say; nil: as the targets say, where all instances
	// have reached them.
	Phases map[string]phase.Phase
}

// Fence is what makes a client fail loudly that still uses names which are dead. A list of patterns can only
// allow, so a user that may touch a dead name gets the list of all names that are not.
type Fence struct {
	Rules []string    `json:"rules"` // whose legacy names are dead
	Alive []string    `json:"alive"` // the others
	Users []FenceUser `json:"users"`
	Notes []string    `json:"notes,omitempty"`
}

// FenceUser is one user of the server.
type FenceUser struct {
	User   string   `json:"user"`
	Before []string `json:"before"` // its key patterns, as the server has them
	After  []string `json:"after"`
	Line   string   `json:"line"` // for redis-cli
	Undo   string   `json:"undo"` // the line that takes it back
}

// PlanFence computes the fence for the phases that the rules are in. It changes nothing.
func PlanFence(ctx context.Context, store *fleet.Store, p *plan.Plan, o FenceOptions) (Fence, error) {
	f := Fence{Rules: []string{}, Alive: []string{}, Users: []FenceUser{}}
	dead, err := deadRules(ctx, store, p, o.Phases)
	if err != nil {
		return f, err
	}
	for i, r := range p.Rules {
		if dead[i] {
			f.Rules = append(f.Rules, r.Name)
		} else {
			f.Alive = append(f.Alive, r.Name)
		}
	}
	if len(f.Rules) == 0 {
		f.Notes = append(f.Notes, "no rule is at prefixed with its whole fleet, so all legacy names are alive and there is nothing to fence")
		return f, nil
	}
	users, err := usersOf(ctx, store.Client(), o.Users)
	if err != nil {
		return f, err
	}
	for _, u := range users {
		if u.selectors {
			f.Notes = append(f.Notes, fmt.Sprintf("user %s has selectors, which stay as they are; look at them with ACL GETUSER %s", u.name, u.name))
		}
		if one, fenced := fenceUser(p, dead, u, o.Keep); fenced {
			f.Users = append(f.Users, one)
		}
	}
	if len(f.Users) > 0 {
		f.Notes = append(f.Notes,
			"names that belong to no rule are not in the plan: name what these users need of them with --keep PATTERN",
			"take the fence back (undo) before a rollback, which needs the legacy names",
			"a server with an ACL file wants ACL SAVE afterwards, one without CONFIG REWRITE")
	}
	return f, nil
}

// deadRules says whose legacy names nobody uses: of rules at prefixed.
func deadRules(ctx context.Context, store *fleet.Store, p *plan.Plan, phases map[string]phase.Phase) ([]bool, error) {
	dead := make([]bool, len(p.Rules))
	if phases != nil {
		for i, r := range p.Rules {
			dead[i] = phases[r.Name] == phase.Prefixed
		}
		return dead, nil
	}
	s, err := takeSnapshot(ctx, store, p)
	if err != nil {
		return nil, err
	}
	for i, r := range p.Rules {
		t, ok := s.targets[r.Name]
		dead[i] = ok && t.Phase == phase.Prefixed && len(blockers(s, r.Name, p.Hash(i), aside{noInstances: true})) == 0
	}
	return dead, nil
}

// aclUser is a user as the server has it.
type aclUser struct {
	name      string
	patterns  []string // "~...", "%R~..." and so on
	selectors bool
}

// usersOf asks for the users that are on.
func usersOf(ctx context.Context, c *redis.Client, names []string) (out []aclUser, err error) {
	chosen := len(names) > 0
	if !chosen {
		if names, err = c.Do(ctx, "ACL", "USERS").StringSlice(); err != nil {
			return nil, aclError(err)
		}
	}
	for _, name := range names {
		reply, err := c.Do(ctx, "ACL", "GETUSER", name).Result()
		if errors.Is(err, redis.Nil) {
			return nil, usage("the server has no user %q", name)
		}
		if err != nil {
			return nil, aclError(err)
		}
		fields := fieldsOf(reply)
		if !chosen && !slices.Contains(words(fields["flags"]), "on") {
			continue
		}
		u := aclUser{name: name, selectors: len(words(fields["selectors"])) > 0}
		for _, pattern := range words(fields["keys"]) {
			if !strings.HasPrefix(pattern, "~") && !strings.HasPrefix(pattern, "%") { // servers before 7.0
				pattern = "~" + pattern
			}
			u.patterns = append(u.patterns, pattern)
		}
		out = append(out, u)
	}
	return out, nil
}

func aclError(err error) error {
	return fmt.Errorf("rekey: ask the server for its users: %w; this needs +acl", err)
}

// fieldsOf reads the reply of ACL GETUSER, which is a map or a flat list.
func fieldsOf(reply any) map[string]any {
	out := make(map[string]any)
	switch all := reply.(type) {
	case map[any]any:
		for name, value := range all {
			out[fmt.Sprint(name)] = value
		}
	case []any:
		for i := 0; i+1 < len(all); i += 2 {
			out[fmt.Sprint(all[i])] = all[i+1]
		}
	}
	return out
}

// words reads a list, or a text with spaces between its words.
func words(value any) (out []string) {
	switch v := value.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, w := range v {
			out = append(out, fmt.Sprint(w))
		}
	}
	return out
}

// fenceUser gives a user the patterns without the dead names. It is false where it may not touch one.
func fenceUser(p *plan.Plan, dead []bool, u aclUser, keep []string) (FenceUser, bool) {
	touches := func(glob string) bool {
		for i := range p.Rules {
			if dead[i] && globsMeet(glob, string(p.Names().Pair(i).Legacy().Glob())) {
				return true
			}
		}
		return false
	}
	out := FenceUser{User: u.name, Before: u.patterns, After: []string{}}
	add := func(pattern string) {
		if !slices.Contains(out.After, pattern) {
			out.After = append(out.After, pattern)
		}
	}
	fenced := false
	for _, pattern := range u.patterns {
		right, glob, _ := strings.Cut(pattern, "~")
		if !touches(glob) {
			add(pattern)
			continue
		}
		fenced = true
		for i := range p.Rules {
			pair := p.Names().Pair(i)
			if g := string(pair.Target().Glob()); globsMeet(glob, g) {
				add(right + "~" + writable(g))
			}
			if g := string(pair.Legacy().Glob()); !dead[i] && globsMeet(glob, g) {
				add(right + "~" + writable(g))
			}
		}
		if g := string(keyname.AppendGlobLiteral(nil, []byte(p.ControlPrefix()))) + "*"; globsMeet(glob, g) {
			add(right + "~" + writable(g))
		}
	}
	for _, k := range keep {
		add("~" + writable(strings.TrimPrefix(k, "~")))
	}
	out.Line, out.Undo = setUser(u.name, out.After), setUser(u.name, u.patterns)
	return out, fenced
}

// writable is a pattern as an ACL can hold it: neither a space nor a NUL, so any byte may stand there.
func writable(glob string) string {
	return strings.Map(func(r rune) rune {
		if r == 0 || r == ' ' || r >= '\t' && r <= '\r' {
			return '?'
		}
		return r
	}, glob)
}

// setUser is a line for redis-cli.
func setUser(user string, patterns []string) string {
	out := []string{"ACL", "SETUSER", user, "resetkeys"}
	for _, w := range patterns {
		if strings.ContainsAny(w, "\"'\\ ") {
			w = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// Apply gives the users their patterns.
func (f Fence) Apply(ctx context.Context, store *fleet.Store, by string) error {
	c := store.Client()
	for _, u := range f.Users {
		args := []any{"ACL", "SETUSER", u.User, "resetkeys"}
		for _, pattern := range u.After {
			args = append(args, pattern)
		}
		if err := c.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("rekey: fence user %s: %w; the users before it in the list are fenced", u.User, err)
		}
	}
	line := entryArgs(entry{What: "fence", By: by, Evidence: f})
	if err := c.XAdd(ctx, &redis.XAddArgs{Stream: store.Keys().Audit(), MaxLen: logLength, Approx: true, Values: line[1:]}).Err(); err != nil {
		return fmt.Errorf("rekey: the fence stands, but could not be written into the audit log: %w", err)
	}
	return nil
}
