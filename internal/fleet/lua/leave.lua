-- Removes the record of an instance that ends in order. KEYS: fleet, conns of the instance. ARGV: id.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2])
return 1
