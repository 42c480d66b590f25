-- Removes the record of a dead instance and has its connections closed. KEYS: lock, fleet, connections of
-- the instance, connections to be closed, audit. ARGV[2]: the instance's id; [3]: the date of its record, ""
-- where the operator has named it; [4]: the log's length; then fields and values of the log.
-- Gives 1, or 0: it has renewed its lease meanwhile, or is gone already.
local record = redis.call('HGET', KEYS[2], ARGV[2])
if not record then
  return {0, ''}
end
if ARGV[3] ~= '' then
  local renewed, lease = string.match(record, '^{"renewed":(%d+),"lease":(%d+),')
  if renewed ~= ARGV[3] or now < tonumber(renewed) + tonumber(lease) then
    return {0, ''}
  end
end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('SUNIONSTORE', KEYS[4], KEYS[4], KEYS[3])
redis.call('DEL', KEYS[3])
local entry = {'XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*'}
for i = 5, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call(unpack(entry))
return {1, string.format('%.0f', now)}
