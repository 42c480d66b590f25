-- Takes the lock. KEYS: lock, gen, phase, fleet, connections of the last controller's sweeps, connections
-- to be closed, audit. ARGV: "take" or "over", the term in microseconds, the record behind its generation,
-- what the audit log says: the log's length, then fields and values.
-- Gives: 1 and the record, or 0 and the record of who holds it; then the time.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('GET', KEYS[1])
if held and ARGV[1] ~= 'over' then
  local till = string.match(held, '^{"until":(%d+),')
  if till and tonumber(till) > now then
    return {0, held, string.format('%.0f', now)}
  end
end
redis.call('PERSIST', KEYS[1]) -- a full server refuses no write behind one that needs no memory
-- The generation is above all that anybody has seen, even if the counter was lost or turned back.
local gen = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
for i = 3, 4 do
  for _, record in ipairs(redis.call('HVALS', KEYS[i])) do
    for g in string.gmatch(record, '"gen":(%d+)') do
      if tonumber(g) > gen then
        gen = tonumber(g)
      end
    end
  end
end
if held then
  local g = tonumber(string.match(held, '"gen":(%d+)') or '0')
  if g > gen then
    gen = g
  end
end
gen = gen + 1
redis.call('SET', KEYS[2], string.format('%.0f', gen))
-- What the last controller's sweeps have sent may still be on its way.
redis.call('SUNIONSTORE', KEYS[6], KEYS[6], KEYS[5])
redis.call('DEL', KEYS[5])
local rest = string.format('"since":%.0f,"gen":%.0f,', now, gen) .. ARGV[3]
redis.call('SET', KEYS[1], string.format('{"until":%.0f,', now + tonumber(ARGV[2])) .. rest)
local entry = {'XADD', KEYS[7], 'MAXLEN', '~', ARGV[4], '*', 'gen', string.format('%.0f', gen)}
for i = 5, #ARGV do
  entry[#entry + 1] = ARGV[i]
end
redis.call(unpack(entry))
return {1, rest, string.format('%.0f', now)}
