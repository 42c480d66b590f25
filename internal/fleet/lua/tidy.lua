-- Removes the records of observers whose leases ran out long ago. KEYS: fleet. ARGV: how long ago, in
-- microseconds. Gives their ids.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gone = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local renewed, lease = string.match(all[i + 1], '^{"renewed":(%d+),"lease":(%d+),')
  if renewed and string.find(all[i + 1], '"observer":true', 1, true) and now > renewed + lease + tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], all[i])
    gone[#gone + 1] = all[i]
  end
end
return gone
