package sweep

import (
	"bytes"
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/plan"
)

// Counted is what the names of a plan's databases are, by one walk that changes nothing. Numbers are as exact as SCAN is
// on data that changes: a name may be counted twice, and one that comes or goes meanwhile may or may not be counted.
type Counted struct {
	Rules []RuleCount
	// Unmatched is how many names belong to no rule, with some of them; Control how many are rekey's own.
	Unmatched int64
	Examples  []string
	Control   int64
}

// RuleCount is one rule's share.
type RuleCount struct {
	Rule           string
	Legacy, Target int64
	// Types is how many names of both sides are of each type.
	Types map[string]int64
	// Uncopyable is the types among them of which it is not known that the server can copy them: those of modules. Only
	// the move strategy is sure with them.
	Uncopyable []string
}

// Count counts the names of every rule of the plan. It needs no right to write.
func Count(ctx context.Context, client *redis.Client, p *plan.Plan) (Counted, error) {
	var c Counted
	for _, r := range p.Rules {
		c.Rules = append(c.Rules, RuleCount{Rule: r.Name, Types: make(map[string]int64)})
	}
	for _, database := range p.Databases {
		if err := c.database(ctx, newLink(client, database, nil), p); err != nil {
			return c, err
		}
	}
	for i := range c.Rules {
		for t := range c.Rules[i].Types {
			switch valueType(t) {
			case stringType, listType, setType, hashType, zsetType, streamType:
			default:
				c.Rules[i].Uncopyable = append(c.Rules[i].Uncopyable, t)
			}
		}
	}
	return c, nil
}

func (c *Counted) database(ctx context.Context, l *link, p *plan.Plan) error {
	defer l.close() // nothing is buffered
	for cursor := uint64(0); ; {
		names, next, err := l.client.Scan(ctx, cursor, "", DefaultPage).Result()
		if err != nil {
			return fmt.Errorf("count the keys of database %d: %w", l.database, serverError("SCAN", err))
		}
		if err := c.page(ctx, l, p, names); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func (c *Counted) page(ctx context.Context, l *link, p *plan.Plan, names []string) error {
	set := p.Names()
	var rules []int
	var commands []command
	for _, name := range names {
		if bytes.HasPrefix([]byte(name), set.Control()) {
			c.Control++
			continue
		}
		rule, target := set.Find([]byte(name))
		switch {
		case rule < 0:
			if c.Unmatched++; len(c.Examples) < DefaultExamples {
				c.Examples = append(c.Examples, name)
			}
			continue
		case target:
			c.Rules[rule].Target++
		default:
			c.Rules[rule].Legacy++
		}
		rules, commands = append(rules, rule), append(commands, command{"TYPE", name})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		t, err := typeOf(reply)
		if err != nil {
			return err
		}
		if t != noType { // gone since SCAN gave it
			c.Rules[rules[i]].Types[string(t)]++
		}
	}
	return nil
}
