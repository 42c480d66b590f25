-- Reads all records at one moment. A transaction would do as well, but a full server refuses those, and an
-- operator wants to look just then. KEYS: fleet, phase, lock, gen, connections to be closed, then the evidence.
-- Gives the time, the instances and the targets as HGETALL has them, lock, generation, how many connections are
-- to be closed, the evidence, and what the server says of itself and of its replication.
local time = redis.call('TIME')
local evidence = {}
for i = 6, #KEYS do
  evidence[#evidence + 1] = redis.call('GET', KEYS[i]) or ''
end
return {
  time[1] * 1000000 + time[2], redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]),
  redis.call('GET', KEYS[3]) or '', redis.call('GET', KEYS[4]) or '', redis.call('SCARD', KEYS[5]),
  evidence, redis.call('INFO', 'server'), redis.call('INFO', 'replication'),
}
