-- Holds the lock longer. ARGV[2]: the term in microseconds.
redis.call('SET', KEYS[1], string.format('{"until":%.0f,', now + tonumber(ARGV[2])) .. ARGV[1])
return {1, string.format('%.0f', now)}
