-- Removes the pair, each half only if it is of this pair. KEYS: the code's key, the session's.
-- ARGV: session, code. Answers how many keys it removed.
local removed = 0
if redis.call('GET', KEYS[1]) == ARGV[1] then
  removed = removed + redis.call('DEL', KEYS[1])
end
if redis.call('GET', KEYS[2]) == ARGV[2] then
  removed = removed + redis.call('DEL', KEYS[2])
end
return removed
