-- Sets a rule's target, if all is still as it was when this was decided.
-- KEYS: lock, phase, fleet, connections to be closed, audit, events (to publish on), then the evidence on
-- the rule, which is removed. ARGV: [2] the rule, [3] the target that it has, "" for none, [4] and [5] the
-- new one in front of its date and behind it, [6] the server's run id, "" where it is not told, [7] how many
-- instances, [8] the log's length, then the instances, then fields and values of the log.
-- Gives 1, or 0 and what has changed.
if (redis.call('HGET', KEYS[2], ARGV[2]) or '') ~= ARGV[3] then
  return {0, 'target'}
end
if redis.call('SCARD', KEYS[4]) > 0 then
  return {0, 'unburied'}
end
if ARGV[6] ~= '' then
  local info = redis.call('INFO', 'server')
  if string.match(info, 'run_id:(%w+)') ~= ARGV[6] then
    return {0, 'server'}
  end
end
local n = tonumber(ARGV[7])
if redis.call('HLEN', KEYS[3]) ~= n then
  return {0, 'fleet'}
end
for i = 9, 8 + n do
  if redis.call('HEXISTS', KEYS[3], ARGV[i]) == 0 then
    return {0, 'fleet'}
  end
end
-- A sweep that nobody leads, or that has broken, is known by its record alone. Its connections are closed before the
-- record goes: what they have under way would come after this target. Without the record it admits no other ones.
local closes = false
for i = 7, #KEYS do
  local ok, record = pcall(cjson.decode, redis.call('GET', KEYS[i]) or '')
  if ok and type(record) == 'table' and type(record.conns) == 'table' and #record.conns > 0 then
    for _, id in ipairs(record.conns) do
      redis.call('SADD', KEYS[4], (record.run_id or '?') .. ':' .. string.format('%.0f', id))
    end
    redis.call('DEL', KEYS[i])
    closes = true
  end
end
if closes then
  return {0, 'unburied'}
end
for i = 7, #KEYS do
  redis.call('DEL', KEYS[i])
end
-- A date as the records have it: RFC 3339 in UTC, of which the server's scripts know nothing, so the days
-- are counted here (Howard Hinnant's civil_from_days).
local function date(seconds, micros)
  local z = math.floor(seconds / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local d = doy - math.floor((153 * mp + 2) / 5) + 1
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  local s = seconds % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', y, m, d,
    math.floor(s / 3600), math.floor(s % 3600 / 60), s % 60, micros)
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4] .. date(tonumber(time[1]), tonumber(time[2])) .. ARGV[5])
local entry = {'XADD', KEYS[5], 'MAXLEN', '~', ARGV[8], '*'}
for i = 9 + n, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call(unpack(entry))
redis.call('PUBLISH', KEYS[6], ARGV[2])
return {1, string.format('%.0f', now)}
