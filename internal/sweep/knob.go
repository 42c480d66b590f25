package sweep

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/plan"
)

// AllRules stands for every rule in the knobs. What is set for a rule goes before what is set for all.
const AllRules = "*"

// Knobs are what an operator turns while sweeps run, whoever started them. They are a hash under the control prefix, which
// every sweep reads between its pages, and stay as they are until they are turned again. What is nil is not set: then the
// words count with which the sweep was started.
type Knobs struct {
	Rate   *float64 `json:"rate,omitempty"`   // keys of the rule in a second; 0: no limit
	Batch  *int     `json:"batch,omitempty"`  // SCAN's COUNT
	Nice   *float64 `json:"nice,omitempty"`   // sleep so many times as long as was worked
	Paused *bool    `json:"paused,omitempty"` // stop between two pages
}

// Set reports whether anything is.
func (k Knobs) Set() bool { return k != Knobs{} }

// over gives what is set here, and of the rest what is set there.
func (k Knobs) over(there Knobs) Knobs {
	if k.Rate == nil {
		k.Rate = there.Rate
	}
	if k.Batch == nil {
		k.Batch = there.Batch
	}
	if k.Nice == nil {
		k.Nice = there.Nice
	}
	if k.Paused == nil {
		k.Paused = there.Paused
	}
	return k
}

func knobsKey(p *plan.Plan) string { return p.ControlPrefix() + "sweep:knobs" }

// ReadKnobs returns what is set, by rule; that for all is under [AllRules].
func ReadKnobs(ctx context.Context, c *redis.Client, p *plan.Plan) (map[string]Knobs, error) {
	all, err := c.HGetAll(ctx, knobsKey(p)).Result()
	if err != nil {
		return nil, serverError("HGETALL", err)
	}
	out := make(map[string]Knobs)
	for field, text := range all {
		name, rule, ok := strings.Cut(field, ":")
		k := out[rule]
		if ok = ok && k.parse(name, text); !ok {
			return nil, fmt.Errorf("rekey: the knob %q is %q, which this version cannot read; rekey knob --reset removes all that is set", field, text)
		}
		out[rule] = k
	}
	return out, nil
}

func (k *Knobs) parse(name, text string) bool {
	switch name {
	case "rate", "nice":
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !Amount(v) {
			return false
		}
		if name == "rate" {
			k.Rate = &v
		} else {
			k.Nice = &v
		}
	case "batch":
		v, err := strconv.Atoi(text)
		if err != nil || v < 1 {
			return false
		}
		k.Batch = &v
	case "paused":
		v := text == "1"
		k.Paused = &v
	default:
		return false
	}
	return true
}

// TurnKnobs sets what is not nil for a rule, or for [AllRules].
func TurnKnobs(ctx context.Context, c *redis.Client, p *plan.Plan, rule string, k Knobs) error {
	var words []any
	add := func(name string, v any) { words = append(words, name+":"+rule, v) }
	if k.Rate != nil {
		add("rate", *k.Rate)
	}
	if k.Batch != nil {
		add("batch", *k.Batch)
	}
	if k.Nice != nil {
		add("nice", *k.Nice)
	}
	if k.Paused != nil {
		add("paused", *k.Paused) // 0 or 1
	}
	if len(words) == 0 {
		return nil
	}
	err := c.HSet(ctx, knobsKey(p), words...).Err()
	if code(err) != "OOM" {
		return serverError("HSET", err)
	}
	// Purge and relocate run on a full server, and whoever wants to pause them there cannot make room first.
	if turnFull.Eval(ctx, c, []string{knobsKey(p)}, words...).Err() != nil {
		return fmt.Errorf("rekey: the knob was refused by the server: %w; raise maxmemory or free some, or stop the sweep with Ctrl-C: the same command goes on from there later", err)
	}
	return nil
}

// turnFull is HSET on a server that is full. Servers before 7.0 do not know such a script.
var turnFull = redis.NewScript("#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], unpack(ARGV))")

// ResetKnobs removes what is set for a rule, or for [AllRules]; "" removes all there is.
func ResetKnobs(ctx context.Context, c *redis.Client, p *plan.Plan, rule string) error {
	if rule == "" {
		return serverError("DEL", c.Del(ctx, knobsKey(p)).Err())
	}
	return serverError("HDEL", c.HDel(ctx, knobsKey(p), "rate:"+rule, "batch:"+rule, "nice:"+rule, "paused:"+rule).Err())
}
