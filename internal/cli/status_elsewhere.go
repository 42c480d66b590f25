package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// How far an empty fleet's database is looked through for fleets of other environments: status answers at
// once, however many keys there are.
const (
	elsewherePages = 20
	elsewherePage  = 1000
)

// otherFleets are the environments, other than the plan's, whose control records are in the database.
func otherFleets(ctx context.Context, c *redis.Client, p *plan.Plan) ([]string, error) {
	open, ok := p.AnyControl("{name...}")
	if !ok {
		return nil, nil // all environments have the same records
	}
	glob, foreign := string(open.Glob()), sweep.ForeignTo(p)
	found := make(map[string]bool)
	cursor := uint64(0)
	for range elsewherePages {
		names, next, err := c.Scan(ctx, cursor, glob, elsewherePage).Result()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if env, control, ok := foreign.Environment([]byte(name)); ok && control {
				found[env] = true
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
