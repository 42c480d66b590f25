// Package keys builds every name under which ClassWaves keeps something in Redis. It is the one
// place with a key literal.
//
// The names are those that production always had. Identifiers come from requests; what a variable of
// the plan's templates cannot hold is refused, never replaced: the release before this one mapped a:b
// and a_b to one key.
package keys

import (
	"fmt"
	"strings"
)

// MaxBytes is the longest identifier in a name.
const MaxBytes = 512

// InvalidError is an identifier that cannot stand in a name.
type InvalidError struct {
	What   string // which identifier: "session id"
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s %s", e.What, e.Reason) }

// QueryCache is a cached result of a query.
func QueryCache(queryType, key string) (string, error) {
	return build("query_cache:", one("query type", queryType), ":", rest("cache key", key))
}

// QueryCachePattern matches the cached results of one type whose keys begin with prefix, for SCAN.
func QueryCachePattern(queryType, prefix string) (string, error) {
	name, err := build("query_cache:", one("query type", queryType), ":")
	if err != nil {
		return "", err
	}
	return globLiteral.Replace(name+prefix) + "*", nil
}

// globLiteral takes the meaning from what SCAN's patterns give one.
var globLiteral = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// QueryCacheLock is held by the process of the fleet that loads a result.
func QueryCacheLock(queryType, key string) (string, error) {
	return build("query_cache_lock:", one("query type", queryType), ":", rest("cache key", key))
}

// TagVersion counts the invalidations of a tag.
func TagVersion(tag string) (string, error) { return build("tagver:", rest("tag", tag)) }

// AnalyticsSession holds the live metrics of a class session.
func AnalyticsSession(session string) (string, error) {
	return build("analytics:session:", one("session id", session))
}

// AnalyticsGroup holds the live metrics of a group.
func AnalyticsGroup(group string) (string, error) {
	return build("analytics:group:", one("group id", group))
}

// AnalyticsDashboard holds a teacher's dashboard.
func AnalyticsDashboard(teacher string) (string, error) {
	return build("analytics:teacher:", one("teacher id", teacher), ":dashboard")
}

// RateLimit counts one subject's points of a limit.
func RateLimit(name, subject string) (string, error) {
	return build("rl:", one("limit", name), ":", rest("subject", subject))
}

// SecureSession holds a login session, encrypted.
func SecureSession(session string) (string, error) {
	return build("secure_session:", one("session id", session))
}

// TeacherSessions is the set of a teacher's login sessions.
func TeacherSessions(teacher string) (string, error) {
	return build("teacher_sessions:", one("teacher id", teacher))
}

// SessionAccessCode holds the access code of a class session.
func SessionAccessCode(session string) (string, error) {
	return build("session:", one("session id", session), ":access_code")
}

// AccessCode holds the class session of an access code.
func AccessCode(code string) (string, error) {
	return build("access_code:", one("access code", code))
}

// CSRF holds the CSRF token of a login session.
func CSRF(session string) (string, error) { return build("csrf:", one("session id", session)) }

// CSRFPrevious holds the token before it, for tabs that were open at the change.
func CSRFPrevious(session string) (string, error) {
	return build("csrf_previous:", one("session id", session))
}

// Events is the channel of what happens in a class session. Channels are no keys and are not
// rewritten; they carry the environment from the start.
func Events(environment, session string) (string, error) {
	return build("cw:", one("environment", environment), ":events:", one("session id", session))
}

// EventsPattern matches the channels of all class sessions of an environment, for PSUBSCRIBE.
func EventsPattern(environment string) (string, error) {
	name, err := build("cw:", one("environment", environment), ":events:")
	return globLiteral.Replace(name) + "*", err
}

// part is a piece of a name: a literal, or an identifier that was or was not fit for one.
type part any

// one is an identifier that ends at the next colon.
func one(what, id string) part {
	if strings.Contains(id, ":") {
		return &InvalidError{what, "must not hold a colon"}
	}
	return rest(what, id)
}

// rest is an identifier of any bytes.
func rest(what, id string) part {
	switch {
	case id == "":
		return &InvalidError{what, "must not be empty"}
	case len(id) > MaxBytes:
		return &InvalidError{what, fmt.Sprintf("must not exceed %d bytes", MaxBytes)}
	}
	return id
}

func build(parts ...part) (string, error) {
	var name strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			name.WriteString(p)
		case *InvalidError:
			return "", p
		}
	}
	return name.String(), nil
}
