-- Writes a record with its date. KEYS[2]: the record. ARGV[2]: what is in front of the date, ARGV[3]:
-- behind it.
redis.call('SET', KEYS[2], ARGV[2] .. string.format('%.0f', now) .. ARGV[3])
return {1, string.format('%.0f', now)}
