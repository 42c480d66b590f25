-- Writes the pair, if the code is still reserved for the session. KEYS: the code's key, the session's.
-- ARGV: session, code, milliseconds. Answers 1 when it was written, 0 when not.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
