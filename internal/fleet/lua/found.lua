-- Makes the targets of rules that have none. All targets are of one epoch: the one that is there, or
-- the one that is offered. KEYS: phase. ARGV: the epoch, then for each rule its name and the target
-- before and behind its epoch. Gives the targets.
local epoch = ARGV[1]
local there = redis.call('HVALS', KEYS[1])
if #there > 0 then
  epoch = string.match(there[1], '"epoch":"([^"]*)"') or epoch
end
for i = 2, #ARGV, 3 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1] .. epoch .. ARGV[i + 2])
end
return redis.call('HGETALL', KEYS[1])
