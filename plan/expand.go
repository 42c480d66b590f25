package plan

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} by the variable's value. A value is not expanded again. $${ stands for ${, and any other $ for
// itself. Errors hold names of variables and never values.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		end := strings.IndexByte(text[at:], '}')
		if end < 0 {
			return "", fmt.Errorf("${ has no }; write ${NAME}, or $${ for a literal ${")
		}
		name := text[at+2 : at+end]
		if !validName(name) {
			return "", fmt.Errorf("${%s} is no variable; write ${NAME} with a name of letters, digits and _, or $${ for a literal ${", name)
		}
		value, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("${%s} is not set; set %s in the environment, or write the value in the plan", name, name)
		}
		b.WriteString(value)
		text = text[at+end+1:]
	}
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
