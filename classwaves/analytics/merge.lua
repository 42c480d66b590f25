-- Merges a record into a session's entry and sums the result up, all in one step. record.go says the same
-- in Go, for the database's side; a test compares the two on random records.
--
-- KEYS: the session's entry, the teacher's dashboard, then the entries of the groups to sum up.
-- ARGV: the record to merge; "1" where an absent entry is to be made of it; "1" where it brings an event;
--       now; lifetimes of session, group and dashboard mark in milliseconds; the mark; "1" where the groups
--       are written only if the entry changed; the groups' ids.
-- Answers {"absent"}, {"ended"} (nothing was done), or {"ok", session's figures, each group's figures}.
local incoming = cjson.decode(ARGV[1])
local create, event, now = ARGV[2] == '1', ARGV[3] == '1', tonumber(ARGV[4])

local entry
local raw = redis.pcall('GET', KEYS[1])
if type(raw) == 'table' then
  if string.sub(raw.err, 1, 9) ~= 'WRONGTYPE' then return raw end
  raw = false -- a key of another type is as absent as an entry of another format
end
if raw then
  local ok, value = pcall(cjson.decode, raw)
  if ok and type(value) == 'table' and value.format == 1 and type(value.parts) == 'table' then
    entry = value
  end
end

local changed, merged = false, false
if not entry then
  if not create then return {'absent'} end
  entry, changed = incoming, true
else
  if event and entry.ended then return {'ended'} end
  for writer, part in pairs(incoming.parts) do
    local have = entry.parts[writer]
    if not have or have.seq < part.seq then
      entry.parts[writer] = part
      merged = true
    end
  end
  if incoming.ended and not entry.ended then
    entry.ended = true
    merged = true
  end
end

local groups, version = {}, 0
for writer, part in pairs(entry.parts) do
  version = version + part.seq
  for id, t in pairs(part.groups) do
    local g = groups[id]
    if not g then
      g = {joined = 0, left = 0, e = 0, en = 0, p = 0, pn = 0, raised = 0, cleared = 0, ready = false, readyAt = 0, word = '', at = 0}
      groups[id] = g
    end
    g.joined = g.joined + (t.joined or 0)
    g.left = g.left + (t.left or 0)
    g.e = g.e + (t.engagement or 0)
    g.en = g.en + (t.engagements or 0)
    g.p = g.p + (t.participation or 0)
    g.pn = g.pn + (t.participations or 0)
    g.raised = g.raised + (t.raised or 0)
    g.cleared = g.cleared + (t.cleared or 0)
    g.at = math.max(g.at, t.at or 0)
    local readyAt = t.readyAt or 0
    if readyAt > g.readyAt or (readyAt == g.readyAt and readyAt > 0 and writer > g.word) then
      g.ready, g.readyAt, g.word = t.ready == true, readyAt, writer
    end
  end
end
if entry.ended then version = version + 1 end

local function average(sum, count)
  if count == 0 then return 0 end
  return math.floor((2 * sum + count) / (2 * count)) / 1000
end

local active, ready, participants, alerts, last = 0, 0, 0, 0, 0
local e, en, p, pn = 0, 0, 0, 0
for _, g in pairs(groups) do
  local present = math.max(0, g.joined - g.left)
  if present > 0 then active = active + 1 end
  if g.ready then ready = ready + 1 end
  participants = participants + present
  alerts = alerts + math.max(0, g.raised - g.cleared)
  e, en, p, pn = e + g.e, en + g.en, p + g.p, pn + g.pn
  last = math.max(last, g.at)
end

local figures = {
  format = 1, sessionId = entry.sessionId, teacherId = entry.teacherId, ended = entry.ended == true,
  activeGroups = active, readyGroups = ready, participants = participants, activeAlerts = alerts,
  averageEngagement = average(e, en), engagementSamples = en,
  averageParticipation = average(p, pn), participationSamples = pn,
  version = version, lastUpdate = last, calculatedAt = now,
}
local reply = {'ok', cjson.encode(figures)}

if changed or merged then
  for name, value in pairs(figures) do entry[name] = value end
  redis.call('SET', KEYS[1], cjson.encode(entry), 'PX', ARGV[5])
end
if merged or event then
  redis.call('SET', KEYS[2], ARGV[8], 'PX', ARGV[7])
end

local none = {joined = 0, left = 0, e = 0, en = 0, p = 0, pn = 0, raised = 0, cleared = 0, ready = false, at = 0}
for i = 3, #KEYS do
  local id = ARGV[7 + i]
  local g = groups[id] or none
  local present = math.max(0, g.joined - g.left)
  local group = cjson.encode({
    format = 1, groupId = id, sessionId = entry.sessionId, active = present > 0, ready = g.ready,
    participants = present, activeAlerts = math.max(0, g.raised - g.cleared),
    averageEngagement = average(g.e, g.en), engagementSamples = g.en,
    averageParticipation = average(g.p, g.pn), participationSamples = g.pn,
    version = version, lastUpdate = g.at, calculatedAt = now,
  })
  if changed or merged or ARGV[9] ~= '1' then
    redis.call('SET', KEYS[i], group, 'PX', ARGV[6])
  end
  reply[#reply + 1] = group
end
return reply
