-- Writes a record with its date. KEYS[2]: the record. ARGV[2]: what is in front of the date, ARGV[3]:
-- behind it, ARGV[4]: the date, 0: now.
local at = ARGV[4] == '0' and string.format('%.0f', now) or ARGV[4]
redis.call('SET', KEYS[2], ARGV[2] .. at .. ARGV[3])
return {1, string.format('%.0f', now)}
