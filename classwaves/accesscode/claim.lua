-- Reserves a code for the session that the database has just said it belongs to. KEYS[1]: the code's
-- key. ARGV: session, the session that was read there before (empty: none), milliseconds.
-- Answers 1 when the code is this session's, 0 when it has gone to yet another one.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  return 1
end
if holder and holder ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
