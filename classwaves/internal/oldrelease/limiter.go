package oldrelease

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Limiter is the release's rate limiter, whose one flag (CW_RL_PREFIX_ENABLED) chooses the name: it has
// neither dual reads nor dual writes.
type Limiter struct {
	Process  *Process
	Prefixed bool
	Points   int64
	Window   time.Duration // of the first hit
	Block    time.Duration // from the first excess
}

// take counts a hit in a fixed window; the first excess sets the block. This is the script of
// rate-limiter-flexible in short.
var take = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if n == tonumber(ARGV[1]) + 1 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return n`)

// Take counts a hit and tells whether it is within the limit.
func (l Limiter) Take(ctx context.Context, name, subject string) (bool, error) {
	key, err := keys.RateLimit(name, subject)
	if err != nil {
		return false, err
	}
	if l.Prefixed {
		key = l.Process.Prefixed(key)
	}
	n, err := take.Run(ctx, l.Process.rdb, []string{key}, l.Points, l.Window.Milliseconds(), l.Block.Milliseconds()).Int64()
	if err != nil {
		return false, fmt.Errorf("count: %w", err)
	}
	return n <= l.Points, nil
}
