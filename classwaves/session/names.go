package session

import (
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
)

// names are members of a set with the keys of their sessions.
type names struct {
	ids, keys []string
	nameless  []string // members that no key can be named after; the old release may have left such
}

// newNames names members, without one of them and without repetitions.
func newNames(without string, members []string) names {
	var n names
	seen := map[string]bool{without: true}
	for _, id := range members {
		if seen[id] {
			continue
		}
		seen[id] = true
		key, err := keys.SecureSession(id)
		if err != nil {
			n.nameless = append(n.nameless, id)
			continue
		}
		n.ids, n.keys = append(n.ids, id), append(n.keys, key)
	}
	return n
}

// idArgs adds the ids to a script's arguments.
func (n names) idArgs(args ...any) []any {
	for _, id := range n.ids {
		args = append(args, id)
	}
	return args
}

// allArgs adds the nameless ones as well.
func (n names) allArgs(args ...any) []any {
	for _, id := range slices.Concat(n.ids, n.nameless) {
		args = append(args, id)
	}
	return args
}

// lists reads a script's answer that is a list of so many lists of strings.
func lists(cmd *redis.Cmd, n int) ([][]string, error) {
	answer, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	out := make([][]string, 0, n)
	for _, part := range answer {
		words, ok := part.([]any)
		if !ok {
			return nil, fmt.Errorf("session: a script answered a %T", part)
		}
		var list []string
		for _, word := range words {
			text, ok := word.(string)
			if !ok {
				return nil, fmt.Errorf("session: a script answered a %T", word)
			}
			list = append(list, text)
		}
		out = append(out, list)
	}
	if len(out) != n {
		return nil, fmt.Errorf("session: a script answered %d lists", len(out))
	}
	return out, nil
}
