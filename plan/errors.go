package plan

import (
	"fmt"
	"regexp"
	"strings"
)

// Error is a plan that is refused.
type Error struct {
	File    string
	Line    int      // 0: no line
	Rules   []string // the rules that it is about
	Example []byte   // a key that shows it; nil: none
	Reason  string   // what is wrong
	Hint    string   // what to do
	Err     error    // the cause, where there is one
}

// Error is one line: file and line, rules, reason, example, hint. It never holds the password of a URL.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rekey: %s", e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	switch len(e.Rules) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "rule %q: ", e.Rules[0])
	default:
		fmt.Fprintf(&b, "rules %q and %q: ", e.Rules[0], e.Rules[1])
	}
	b.WriteString(e.Reason)
	if e.Example != nil {
		fmt.Fprintf(&b, ", for example key %q", e.Example)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return credentials.ReplaceAllString(b.String(), "://xxxxx@")
}

func (e *Error) Unwrap() error { return e.Err }

// credentials is what stands between a URL's scheme and its host. No reason is written with a URL in it; this is for
// one that a user put where none belongs.
var credentials = regexp.MustCompile(`://[^\s"]*@`)
