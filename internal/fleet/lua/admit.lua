-- Admits a connection of an instance: only with a record, and where a lease is wanted only while it
-- lasts. KEYS: fleet, conns of the instance. ARGV: id, connection, "lease" or "record".
-- Gives: 1; 0 there is no record; -1 the lease has run out.
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then
  return 0
end
if ARGV[3] == 'lease' then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local renewed, lease = string.match(record, '^{"renewed":(%d+),"lease":(%d+),')
  if not renewed or now >= renewed + lease then
    return -1
  end
end
redis.call('SADD', KEYS[2], ARGV[2])
return 1
