package inventory_test

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/redistest"
)

// fill makes keys of every type and of many shapes on the server itself.
func fill(t testing.TB, c *redis.Client, keys int) {
	t.Helper()
	const script = `
local pad = string.rep('x', 100)
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
	local kind = i % 10
	if kind < 4 then redis.call('SET', 'secure_session:' .. redis.sha1hex(i), pad, 'EX', 1000 + i)
	elseif kind == 4 then redis.call('SADD', 'teacher_sessions:' .. i, i, i + 1)
	elseif kind == 5 then redis.call('HSET', 'user:' .. i .. ':profile', 'name', pad)
	elseif kind == 6 then redis.call('ZADD', 'board/' .. i % 100 .. '/' .. i, i, 'a')
	elseif kind == 7 then redis.call('RPUSH', 'queue.' .. i, pad)
	elseif kind == 8 then redis.call('XADD', 'log:' .. i % 50 .. ':' .. i, '*', 'f', pad)
	else redis.call('SET', redis.sha1hex(i .. 'x'):gsub('%d', ''), pad) end
end`
	for from := 1; from <= keys; from += 10_000 {
		if err := c.Eval(t.Context(), script, nil, strconv.Itoa(from), strconv.Itoa(min(keys, from+9_999))).Err(); err != nil && err != redis.Nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkInventory is the rate beside that of a bare SCAN by the same client over the same keys.
func BenchmarkInventory(b *testing.B) {
	s := redistest.Start(b)
	c := s.Client()
	const keys = 100_000
	fill(b, c, keys)
	rate := func(b *testing.B) { b.ReportMetric(float64(keys)*float64(b.N)/b.Elapsed().Seconds(), "keys/s") }
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			for cursor := uint64(0); ; {
				var err error
				if _, cursor, err = c.Scan(b.Context(), cursor, "", inventory.DefaultPage).Result(); err != nil {
					b.Fatal(err)
				}
				if cursor == 0 {
					break
				}
			}
		}
		rate(b)
	})
	for _, sample := range []float64{1, 0.1, 0.01} {
		b.Run("inventory/sample="+strconv.FormatFloat(sample, 'g', -1, 64), func(b *testing.B) {
			for b.Loop() {
				take(b, c, func(o *inventory.Options) { o.Sample = sample })
			}
			rate(b)
		})
	}
}
