-- Reads all instances. A transaction would do as well, but a full server refuses those. KEYS: fleet.
-- Gives the time, and the instances as HGETALL has them.
local time = redis.call('TIME')
return {time[1] * 1000000 + time[2], redis.call('HGETALL', KEYS[1])}
