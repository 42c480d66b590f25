package sweep_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

const sharedPlan = `
version: 1
environment: prod
control_prefix: "cw:{env}:rekey:"
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

// dashedPlan has targets and a control prefix in which something other than a ':' stands beside {env}, or the environment's
// name before it.
const dashedPlan = `
version: 1
environment: prod
control_prefix: "production:{env}:"
rules:
  - {name: sessions, legacy: "sess:{id}", target: "cw:{env}-sess:{id}"}
  - {name: pages, legacy: "page:{id}", target: "cw:{env}2_:{env}:{id}"}
  - {name: braces, legacy: "brace:{id}", target: "{{cw}}:{env}:brace:{id}"}
  - {name: behind, legacy: "behind:{id}", target: "cw:behind:{id}:{env}"}
  - {name: slots, legacy: "slot:{id}", target: "cw:{env}.slot:{id}", colocate: true}
  - {name: wrapped, legacy: "wrap:{id}", target: "wr:{env}-x:wrap:{id}", colocate: true}
  - {name: dots, legacy: "dot:{id}", target: "dots.{env}.{id}"}
  - {name: dashes, legacy: "dash:{id}", target: "dash-{env}-of-{id}"}
`

// Names of other environments are told apart from those of rules, of strangers and of our own.
func TestForeignNames(t *testing.T) {
	foreignNames(t, sharedPlan, map[string]string{
		"cw:staging:secure_session:1":        "staging",
		"cw:prod:secure_session:1":           "",
		"cw:prod:rekey:phase":                "",
		"cw:staging:rl:auth:1.2.3.4:5":       "staging",
		"cw:staging:rekey:phase":             "staging, control",
		"cw:staging:rekey:conns:a":           "staging, control",
		"cw:staging:rekey:flags:sessions":    "staging, control",
		"cw:staging:rekey:something":         "",
		"cw:staging:secure_session:1:2":      "",
		"cw:a:b:secure_session:1":            "",
		"cw::secure_session:1":               "",
		"secure_session:1":                   "",
		"cw:sta ging:secure_session:1":       "",
		"other:cw:staging:secure_session:1":  "",
		"cw:staging2_X-y:secure_session:a b": "staging2_X-y",
	})
	foreignNames(t, dashedPlan, map[string]string{
		"cw:staging-sess:1":             "staging",
		"cw:staging-sess-sess:1":        "staging-sess",
		"cw:prod-sess:1":                "",
		"cw:-sess:1":                    "",
		"cw:sess:1":                     "",
		"cw:staging2_:staging:1":        "staging",
		"cw:staging2_:prod:1":           "",
		"{cw}:staging:brace:1":          "staging",
		"{cw}:prod:brace:1":             "",
		"cw:behind:1:staging":           "staging",
		"cw:behind:1:prod":              "",
		"cw:staging.{slot:1}":           "staging",
		"cw:prod.{slot:1}":              "",
		"wr:staging-x:{wrap:1}":         "staging",
		"wr:prod-x:{wrap:1}":            "",
		"wr:staging-x:wrap:1":           "",
		"dots.staging.a.b":              "staging",
		"dots.prod.a.b":                 "",
		"dash-staging-of-1":             "staging",
		"dash-prod-of-1":                "",
		"dash-prod-of-staging-of-1":     "",
		"page:1":                        "",
		"production:staging:phase":      "staging, control",
		"production:staging:conns:a:b":  "staging, control",
		"production:staging:something":  "",
		"production:prod:phase":         "",
		"production:prod:sweep:a:b":     "",
		"staginguction:prod:phase":      "",
		"production:stag ing:phase":     "",
		"production:staging:phase:more": "",
	})
}

// foreignNames asks a plan whose names some are.
func foreignNames(t *testing.T, text string, names map[string]string) {
	t.Helper()
	foreign := sweep.ForeignTo(parse(t, text))
	for name, want := range names {
		got, control, ok := foreign.Environment([]byte(name))
		switch {
		case !ok:
			got = ""
		case control:
			got += ", control"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// The gate out of the first phases wants to know whose the legacy names are. Each kind of name is enough
// to ask, and the operator's word is enough to answer; it is in the verdict.
func TestSharedLegacyNamesAreClaimed(t *testing.T) {
	for _, rule := range []struct {
		name  string
		phase phase.Phase
	}{{"sessions", phase.Guard}, {"limits", phase.Legacy}} {
		for _, name := range []string{"cw:staging:secure_session:1", "cw:staging:rl:auth:x", "cw:staging:rekey:phase", "cw:staging:rekey:sweep:purge:sessions"} {
			c := redistest.Shared(t).Client()
			p := parse(t, sharedPlan)
			do(t, c, "SET", name, "theirs")
			do(t, c, "SET", "secure_session:1", "whose?")
			o := sweep.Options{Client: c, Plan: p, Rule: rule.name, Kind: sweep.Purge, Phase: rule.phase, Execute: true}
			mustNotHold(t, run(t, o), phase.NoTarget, `environment "staging" has names`)
			store := sweep.OpenStore(c, p)
			v, ok, err := store.Load(t.Context(), rule.name, sweep.Purge)
			noError(t, store.Close())
			if holds, _ := v.Holds(phase.NoTarget); err != nil || !ok || holds {
				t.Errorf("%s: the stored verdict holds", rule.name)
			}
			o.ClaimSharedLegacy = true
			r := run(t, o)
			mustHold(t, r, phase.NoTarget)
			if !slices.Equal(r.Verdict.Claimed, []string{"staging"}) || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], `"staging"`) {
				t.Errorf("%s: claimed %q, notes %q", rule.name, r.Verdict.Claimed, r.Notes)
			}
			if got := c.Get(t.Context(), name).Val(); got != "theirs" {
				t.Errorf("%s is %q", name, got)
			}
		}
	}
	// In legacy a purge of a mirror rule is part of no gate, and asks nothing.
	c := redistest.Shared(t).Client()
	do(t, c, "SET", "cw:staging:secure_session:1", "theirs")
	if r := run(t, sweep.Options{Client: c, Plan: parse(t, sharedPlan), Rule: "sessions", Kind: sweep.Purge, Phase: phase.Legacy}); len(r.Notes) > 0 {
		t.Errorf("notes %q", r.Notes)
	}
}

// A target in which the environment's name goes on with a letter, a digit or a dash, and a control prefix with that name
// before {env}, hide no other environment.
func TestSharedNamesBesideADash(t *testing.T) {
	for _, name := range []string{"cw:staging-sess:1", "{cw}:staging:brace:1", "cw:behind:1:staging", "wr:staging-x:{wrap:1}", "dash-staging-of-1", "production:staging:phase"} {
		c := redistest.Shared(t).Client()
		do(t, c, "SET", name, "theirs")
		r := run(t, sweep.Options{Client: c, Plan: parse(t, dashedPlan), Rule: "sessions", Kind: sweep.Purge, Phase: phase.Guard, Execute: true})
		mustNotHold(t, r, phase.NoTarget, `environment "staging" has names`)
		_, err := sweep.Adopt(t.Context(), sweep.AdoptOptions{
			Client: c, Plan: parse(t, dashedPlan), Rule: "sessions", Reads: sweep.TargetName, Leave: phase.Prefixed, Execute: true,
		})
		var shared *sweep.SharedError
		if !errors.As(err, &shared) {
			t.Errorf("%s: adopt got %v, want a SharedError", name, err)
		}
	}
}

// The other environment's names may lie in any of the plan's databases.
func TestSharedInAnotherDatabase(t *testing.T) {
	server := redistest.Shared(t)
	c := server.Client()
	conn := server.Conn()
	conn.Do("SELECT", "3")
	conn.Do("SET", "cw:staging:secure_session:1", "theirs")
	p := parse(t, strings.Replace(sharedPlan, "rules:", "databases: [0, 3]\nrules:", 1))
	r := run(t, sweep.Options{Client: c, Plan: p, Rule: "sessions", Kind: sweep.Purge, Phase: phase.Guard})
	mustNotHold(t, r, phase.NoTarget, `"staging"`)
}

// An adoption moves legacy keys, so it asks too: a dry run says so, and --execute is refused before
// anything is changed.
func TestAdoptAsksWhoseLegacyNamesAre(t *testing.T) {
	c := redistest.Shared(t).Client()
	do(t, c, "SET", "cw:staging:secure_session:1", "theirs")
	do(t, c, "SET", "secure_session:1", "whose?")
	before := keyspace(t, c)
	o := sweep.AdoptOptions{Client: c, Plan: parse(t, sharedPlan), Rule: "sessions", Reads: sweep.TargetName, Leave: phase.Prefixed}
	if r := adopt(t, o); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], `"staging"`) || r.Moved != 1 {
		t.Errorf("dry run: %+v", r)
	}
	o.Execute = true
	_, err := sweep.Adopt(t.Context(), o)
	var shared *sweep.SharedError
	if !errors.As(err, &shared) || !slices.Equal(shared.Environments, []string{"staging"}) || !strings.HasPrefix(err.Error(), "rekey: ") {
		t.Fatalf("got %v, want a SharedError", err)
	}
	untouched(t, c, before)
	o.ClaimSharedLegacy = true
	if r := adopt(t, o); r.Moved != 1 || len(r.Notes) != 1 {
		t.Errorf("claimed: %+v", r)
	}
	if got := c.Get(t.Context(), "cw:staging:secure_session:1").Val(); got != "theirs" {
		t.Errorf("staging's key is %q", got)
	}
}
