-- Has connections of a sweep closed that may still have something under way. KEYS: lock, connections of the
-- controller's sweeps, connections to be closed. ARGV from 2 on: the connections.
for i = 2, #ARGV do
  redis.call('SREM', KEYS[2], ARGV[i])
  redis.call('SADD', KEYS[3], ARGV[i])
end
return {1, string.format('%.0f', now)}
