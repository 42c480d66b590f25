-- Admits a connection of an instance: only with a record, and where a lease is wanted only while it
-- lasts. KEYS: fleet, conns of the instance. ARGV: id, CLIENT ID, "lease" or "record".
-- Gives: the connection as it is in the records; 0 there is no record; -1 the lease has run out.
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
-- A CLIENT ID belongs to one run of a server. Where the server does not tell its run, all are one.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '?'
local connection = run .. ':' .. ARGV[2]
redis.call('PERSIST', KEYS[1]) -- a full server refuses no write behind one that needs no memory
redis.call('SADD', KEYS[2], connection)
return connection
