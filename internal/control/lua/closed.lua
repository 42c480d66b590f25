-- Notes that connections are closed. KEYS[2]: those to be closed. ARGV from 2 on: those that are.
for i = 2, #ARGV do
  redis.call('SREM', KEYS[2], ARGV[i])
end
return {redis.call('SCARD', KEYS[2]), string.format('%.0f', now)}
