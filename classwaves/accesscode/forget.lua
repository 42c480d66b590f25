-- Removes the pair, each half only if it is of this pair. KEYS: the code's key, the session's.
-- ARGV: session, code. Answers how many keys it removed. A key of another type is of no pair.
local removed = 0
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  removed = removed + redis.call('DEL', KEYS[1])
end
if redis.pcall('GET', KEYS[2]) == ARGV[2] then
  removed = removed + redis.call('DEL', KEYS[2])
end
return removed
