-- Admits a connection of a controller's sweep. KEYS[2]: the set. ARGV[2]: the connection.
redis.call('SADD', KEYS[2], ARGV[2])
return {1, string.format('%.0f', now)}
