-- Reserves a code for the session that the database has just said it belongs to. KEYS[1]: the code's
-- key. ARGV: session, the session that was read there before (empty: none), milliseconds.
-- Answers 1 when the code is this session's, 0 when it has gone to yet another one.
--
-- A key of another type has no holder, and is overwritten.
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'table' then
  if string.sub(holder.err, 1, 9) ~= 'WRONGTYPE' then return holder end
  holder = false
end
if holder == ARGV[1] then
  return 1
end
if holder and holder ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
