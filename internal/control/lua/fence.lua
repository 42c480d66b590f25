-- The head of every script of a controller: KEYS[1] is the lock and ARGV[1] its record behind the time.
-- Whoever is not in it any more writes nothing. Gives {-1, the record or ''}.
local lock = redis.call('GET', KEYS[1])
local till, mine = string.match(lock or '', '^{"until":(%d+),(.*)$')
if mine ~= ARGV[1] then
  return {-1, lock or ''}
end
-- A full server refuses a script's writes that need memory only up to its first one that needs none. A fleet
-- can be led back from there.
redis.call('PERSIST', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
