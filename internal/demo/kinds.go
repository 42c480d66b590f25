package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// environment is the {env} of the demo's target names.
const environment = "demo"

// kind is one of the eleven kinds of keys of the classroom backend that the demo is modelled on: a
// rule of the plan, and how the application uses its keys.
type kind struct {
	rule   string
	legacy string // the template
	// strategy of the rule; 0: the one that was chosen.
	strategy phase.Strategy
	// ttls are the times to live that its keys are written with. Short ones, so that keys expire
	// while the walk lasts.
	ttls []time.Duration
	uses []use
}

// use is one way of using a key, and how often.
type use struct {
	weight int
	do     func(c *cell, s *session) error
}

const day = 24 * time.Hour

// kinds are the rules of the plan, in the order of its file.
var kinds = []kind{
	{rule: "query_cache", legacy: "query_cache:{type}:{key...}", ttls: []time.Duration{2 * time.Second, 10 * time.Minute},
		uses: []use{{40, getWithTag}, {20, get}, {20, set}, {10, remove}, {5, timeToLive}, {5, exists}}},
	{rule: "tag_versions", legacy: "tagver:{tag...}",
		uses: []use{{60, bump}, {40, readTag}}},
	{rule: "analytics_sessions", legacy: "analytics:session:{sid}", ttls: []time.Duration{5 * time.Minute},
		uses: []use{{40, get}, {20, set}, {20, updateAtOnce}, {15, updateInTransaction}, {5, remove}}},
	{rule: "analytics_groups", legacy: "analytics:group:{gid}", ttls: []time.Duration{3 * time.Second, 5 * time.Minute},
		uses: []use{{40, get}, {20, set}, {25, updateInTransaction}, {10, remove}, {5, timeToLive}}},
	{rule: "dashboards", legacy: "analytics:teacher:{tid}:dashboard", ttls: []time.Duration{time.Minute},
		uses: []use{{60, get}, {20, set}, {20, remove}}},
	{rule: "rate_limits", legacy: "rl:{name}:{subject...}", strategy: phase.Relocate, ttls: []time.Duration{2 * time.Second, 15 * time.Minute},
		uses: []use{{70, hit}, {20, peek}, {5, timeToLive}, {5, forgive}}},
	{rule: "sessions", legacy: "secure_session:{sid}", ttls: []time.Duration{day},
		uses: []use{{50, get}, {20, refresh}, {15, set}, {10, remove}, {5, timeToLive}}},
	{rule: "teacher_sessions", legacy: "teacher_sessions:{tid}", ttls: []time.Duration{day},
		uses: []use{{30, logIn}, {15, logOut}, {30, listSessions}, {15, isSession}, {10, logOutEverywhere}}},
	{rule: "session_codes", legacy: "session:{sid}:access_code", ttls: []time.Duration{day},
		uses: []use{{40, assignCode}, {40, resolveCode}, {20, releaseCode}}},
	{rule: "access_codes", legacy: "access_code:{code}", ttls: []time.Duration{day},
		uses: []use{{40, assignCode}, {40, resolveCode}, {20, releaseCode}}},
	{rule: "csrf", legacy: "csrf:{sid}", ttls: []time.Duration{time.Hour},
		uses: []use{{40, get}, {30, setOnce}, {20, take}, {10, exists}}},
}

// rulePlan is the plan of the demo's keys, all names of which begin with the prefix.
func rulePlan(o Options, database int, evicts *bool) (*plan.Plan, error) {
	// A brace of the prefix is a literal in a template.
	prefix := strings.NewReplacer("{", "{{", "}", "}}").Replace(o.KeysPrefix)
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nenvironment: %s\ncontrol_prefix: %q\ndatabases: [%d]\n", environment, prefix+"rekey:{env}:", database)
	if evicts != nil {
		fmt.Fprintf(&b, "server: {evicts: %v}\n", *evicts)
	}
	b.WriteString("rules:\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "  - {name: %s, legacy: %q, target: %q, strategy: %v}\n",
			k.rule, prefix+k.legacy, prefix+"cw:{env}:"+k.legacy, k.strategyOf(o))
	}
	p, err := plan.Parse("the demo's plan", []byte(b.String()), func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, fmt.Errorf("%w: the keys' prefix %q: %w", ErrOptions, o.KeysPrefix, err)
	}
	return p, nil
}

func (k *kind) strategyOf(o Options) phase.Strategy {
	if k.strategy != 0 {
		return k.strategy
	}
	return o.Strategy
}

// name is the legacy name of a kind's i-th key.
func (k *kind) name(prefix string, i int) string {
	switch k.rule {
	case "query_cache":
		return fmt.Sprintf("%squery_cache:session-list:teacher:%d", prefix, i)
	case "tag_versions":
		return fmt.Sprintf("%stagver:school:%d", prefix, i)
	case "rate_limits":
		return fmt.Sprintf("%srl:general:10.0.%d.%d", prefix, i/256, i%256)
	default:
		open, end := strings.IndexByte(k.legacy, '{'), strings.IndexByte(k.legacy, '}')
		return fmt.Sprintf("%s%s%05d%s", prefix, k.legacy[:open], i, k.legacy[end+1:])
	}
}
