-- Writes a record that no decision hangs on. KEYS: the record. ARGV: what it says.
redis.call('PERSIST', KEYS[1]) -- a full server refuses no write behind one that needs no memory
redis.call('SET', KEYS[1], ARGV[1])
return 1
