package session

import "github.com/redis/go-redis/v9"

// The scripts get every key by KEYS, since rekey gives keys their names there. A set's members are
// read inside, so a script may meet a member whose key it was not given: it then answers "unknown"
// with all members, and is sent again with their keys.

// tolerant reads keys that may hold another type than ours: such a key is nobody's, and is taken for one
// that is not there. What else goes wrong is raised by the second call.
const tolerant = `
local function otherType(reply)
  return type(reply) == 'table' and reply.err and string.sub(reply.err, 1, 9) == 'WRONGTYPE'
end
local function textOf(key)
  local value = redis.pcall('GET', key)
  if otherType(value) then return false end
  if type(value) == 'table' then return redis.call('GET', key) end
  return value
end
local function membersOf(set)
  local ids = redis.pcall('SMEMBERS', set)
  if otherType(ids) then
    redis.call('DEL', set)
    return {}
  end
  if ids.err then return redis.call('SMEMBERS', set) end
  return ids
end
`

// clearOf reads what stands in the clear before a sealed session: its order and its last activity.
// What is not ours has order 0, older than everything, and no last activity.
const clearOf = `
local function clearOf(value)
  local order, last = string.match(value, '^cw1%.(%d+)%.(%d+)%.')
  return tonumber(order or 0), tonumber(last)
end
`

// putScript puts a session into the cache and its teacher's set, and ends the oldest beyond the limit.
//
//	KEYS: the set, the session, the known members' sessions
//	ARGV: id, sealed session, session PX, set PX, limit, no later than (ms of the server's clock),
//	      last activity up to which a member is idle, number of known members, their ids,
//	      ids of members that no key can be named after
//
// It answers {"ok", ids ended...}, {"unknown", members...} or {"late"}. The time limit is what keeps a
// put that was long on its way from bringing back a session that was ended meanwhile; see doc.go.
var putScript = redis.NewScript(tolerant + clearOf + `
local clock = redis.call('TIME')
if tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000) > tonumber(ARGV[6]) then
  return {'late'}
end
local n = tonumber(ARGV[8])
local known = {}
for i = 1, n do known[ARGV[8 + i]] = KEYS[2 + i] end
for i = 9 + n, #ARGV do known[ARGV[i]] = false end
local members = membersOf(KEYS[1])
for _, id in ipairs(members) do
  if id ~= ARGV[1] and known[id] == nil then
    table.insert(members, 1, 'unknown')
    return members
  end
end

local order, last = clearOf(ARGV[2])
local living = {{order, ARGV[1], KEYS[2]}}
for _, id in ipairs(members) do
  local key = known[id]
  if id ~= ARGV[1] and key then
    local value = textOf(key)
    local itsOrder, itsLast
    if value then itsOrder, itsLast = clearOf(value) end
    if not value or (itsLast and itsLast <= tonumber(ARGV[7])) then
      redis.call('DEL', key)
      redis.call('SREM', KEYS[1], id)
    else
      table.insert(living, {itsOrder, id, key})
    end
  end
end
table.sort(living, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)

local answer = {'ok'}
local stays = true
for i = 1, #living - tonumber(ARGV[5]) do
  redis.call('DEL', living[i][3])
  redis.call('SREM', KEYS[1], living[i][2])
  table.insert(answer, living[i][2])
  if living[i][2] == ARGV[1] then stays = false end
end
if stays then
  local there = textOf(KEYS[2])
  local itsOrder, itsLast
  if there then itsOrder, itsLast = clearOf(there) end
  if not there or itsOrder ~= order or itsLast < last then
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  end
  redis.call('SADD', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return answer
`)

// refreshScript stores a session's later activity if the session is still there.
//
//	KEYS: the set, the session
//	ARGV: id, sealed session, session PX, set PX
//
// It answers 1, or 0 if the session is gone.
var refreshScript = redis.NewScript(tolerant + clearOf + `
local there = textOf(KEYS[2])
if not there then return 0 end
local order, last = clearOf(ARGV[2])
local itsOrder, itsLast = clearOf(there)
if itsOrder ~= order or not itsLast then return 0 end
if itsLast <= last then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
local added = redis.pcall('SADD', KEYS[1], ARGV[1])
if otherType(added) then redis.call('DEL', KEYS[1]) end
if type(added) == 'table' then redis.call('SADD', KEYS[1], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`)

// removeAllScript ends the sessions of a teacher up to an order; later ones stay.
//
//	KEYS: the set, the known sessions
//	ARGV: order, the known ids
//
// It answers {ids ended, members that it does not know}.
var removeAllScript = redis.NewScript(tolerant + clearOf + `
local known, ended, unknown = {}, {}, {}
local members = membersOf(KEYS[1])
for i = 2, #ARGV do
  known[ARGV[i]] = true
  local value = textOf(KEYS[i])
  if not value or clearOf(value) <= tonumber(ARGV[1]) then
    local was = redis.call('DEL', KEYS[i])
    redis.call('SREM', KEYS[1], ARGV[i])
    if was == 1 then table.insert(ended, ARGV[i]) end
  end
end
for _, id in ipairs(members) do
  if not known[id] then table.insert(unknown, id) end
end
return {ended, unknown}
`)
