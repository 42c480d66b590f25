package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// lackingCommands are those that a walk of the plan's rules sends and that the server does not know under their names:
// rename-command takes commands away, and so do some hosts and servers that only resemble Redis. Without COPY every read in
// dual is refused and sent again, and no backfill comes to an end, which is late to find out. A server that does not
// tell its commands is taken to have them.
func lackingCommands(ctx context.Context, c *redis.Client, p *plan.Plan) []string {
	words := []string{"scan", "evalsha"} // the sweeps, and the fleet's records
	for _, r := range rights {
		used := slices.ContainsFunc(p.Rules, func(rule plan.Rule) bool {
			return slices.ContainsFunc(phase.Of(rule.Strategy), func(at phase.Phase) bool { return slices.Contains(r.phases, at) })
		})
		word, _, _ := strings.Cut(r.word, "|")
		if used && !r.before72 && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	args := []any{"COMMAND", "INFO"}
	for _, word := range words {
		args = append(args, word)
	}
	told, err := c.Do(ctx, args...).Slice()
	if err != nil || len(told) != len(words) {
		return nil
	}
	var lacking []string
	for i, word := range words {
		if told[i] == nil {
			lacking = append(lacking, strings.ToUpper(word))
		}
	}
	return lacking
}
