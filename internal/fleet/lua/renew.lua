-- Dates an instance's record, or makes it (join), and reads the targets.
-- KEYS: fleet, phase, conns of the instance. ARGV: id, "join" or "renew", the record from behind its
-- date, connections that are gone.
-- Gives: 1 or 0 (there is no record to renew), the time, the targets as HGETALL has them.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local targets = redis.call('HGETALL', KEYS[2])
if ARGV[2] == 'renew' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return {0, now, targets}
end
-- A full server refuses a script's writes that need memory only up to its first one that needs none.
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('{"renewed":%.0f,', now) .. ARGV[3])
for i = 4, #ARGV do
  redis.call('SREM', KEYS[3], ARGV[i])
end
return {1, now, targets}
