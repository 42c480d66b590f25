-- Gives the lock up. The generation stays.
redis.call('DEL', KEYS[1])
return {1, string.format('%.0f', now)}
