-- One hit. KEYS[1]: the subject's counter. ARGV: points, window and block in milliseconds.
-- Answers the count and the milliseconds until the counter ends.
--
-- The first part is what rate-limiter-flexible runs, the second what it sends after it as
-- MULTI, SET, PTTL, EXEC: the one hit that exceeds the limit first begins the block.
redis.call('SET', KEYS[1], 0, 'PX', ARGV[2], 'NX')
local count = redis.pcall('INCRBY', KEYS[1], 1)
if type(count) == 'table' then
  if not (string.find(count.err, 'WRONGTYPE', 1, true) or string.find(count.err, 'not an integer', 1, true)) then
    return count
  end
  redis.call('SET', KEYS[1], 1, 'PX', ARGV[2]) -- no counter, and perhaps without an end: a window begins
  count = 1
end
local left = redis.call('PTTL', KEYS[1])
if left == -1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
if count == tonumber(ARGV[1]) + 1 and tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], count, 'PX', ARGV[3])
  left = tonumber(ARGV[3])
end
return {count, left}
