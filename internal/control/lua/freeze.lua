-- Replaces targets whose phase stays, all of them or none, without the lock: whoever freezes a fleet does not
-- wait for the one who walks it. KEYS: phase, audit. ARGV: how many rules; for each its name, its target,
-- the one to replace it; the log's length; fields and values of the log. Gives 1 or 0.
local n = tonumber(ARGV[1])
for i = 0, n - 1 do
  if redis.call('HGET', KEYS[1], ARGV[2 + 3 * i]) ~= ARGV[3 + 3 * i] then
    return 0
  end
end
redis.call('PERSIST', KEYS[1]) -- a full server refuses no write behind one that needs no memory
for i = 0, n - 1 do
  redis.call('HSET', KEYS[1], ARGV[2 + 3 * i], ARGV[4 + 3 * i])
end
local entry = {'XADD', KEYS[2], 'MAXLEN', '~', ARGV[2 + 3 * n], '*'}
for i = 3 + 3 * n, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call(unpack(entry))
return 1
