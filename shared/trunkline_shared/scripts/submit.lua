-- Admits a run and puts it on its queue. Idempotent by run id: a log that exists answers the same.
-- ARGV: id agent pool principal reply stream lost slots timeout_ms queue_timeout_ms max_concurrent
--       max_queue kept_ms job, then names and values of what not every run has:
--       record   what is stored of the request, sealed; the result is then stored too
--       rhooks(1)   webhooks of responses are to hear of its end
--       lists    that of a completion: the marks of the lists which it is in beside its principal's
--       conv wait_ms max_waiting unknown(create|refuse) model hooks(0|1)   its conversation
--       idem idem_body idem_ms   whose Idempotency-Key it has, as `<principal>:<digest>`, the digest of
--         what was asked, and how long both are kept after its end. The key in Redis holds
--         `<run id> <digest of what was asked> <conversation or ''>`
-- Returns {'ok', wait_ms} or {code, wait_ms}. Of a key that another run has, {'same', what it holds}
-- if that was asked the same, else {'reused', 0}.
-- Or notes that somebody beside the one who asked reads the run: what it has said counts as shown.
-- ARGV: id
-- Returns {'ok', attempts so far}, or {'gone', 0}.
if not ARGV[2] then
  local s = state(ARGV[1])
  if not s then return { 'gone', 0 } end
  if s.st ~= 'done' and not s.read then
    despite_full_memory() -- two short fields, and the reader would be refused
    redis.call('HSET', K.run .. ARGV[1], 'stream', '1', 'read', '1')
  end
  return { 'ok', s.attempt }
end
-- Or puts a turn that no run took into a conversation, or in the place of what it `was` until now.
-- ARGV: id conv principal turn was('' for a new one)
-- Returns 'ok' · 'gone' the principal has no such conversation · 'changed' it is not what it was.
if not ARGV[6] then
  local id, conv, principal, turn, was = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local key = K.conversation .. conv
  if redis.call('HGET', key, 'principal') ~= principal then return 'gone' end
  local place, now = redis.call('HGET', K.places .. conv, id), int(now_ms())
  if was ~= '' then
    local stored = place and redis.call('LINDEX', K.turns .. conv, place)
    if stored ~= was and stored ~= turn then return 'changed' end
    despite_full_memory()
    redis.call('LSET', K.turns .. conv, place, turn)
    redis.call('DEL', K.session .. conv) -- which has the words that are gone now
  elseif not place then
    add_turn(conv, id, turn)
  end
  redis.call('HSET', key, 'updated', now)
  redis.call('ZADD', K.conversations .. principal, now, conv)
  redis.call('PEXPIRE', K.conversations .. principal, S.conversations_ms)
  keep_conversation(conv)
  return 'ok'
end
local id, agent, pool, principal, reply = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_concurrent, max_queue = tonumber(ARGV[11]), tonumber(ARGV[12])
local now = now_ms()
local at, log, run, actives = int(now), K.log .. id, K.run .. id, K.active .. principal
local more = {}
for i = 15, #ARGV, 2 do more[ARGV[i]] = ARGV[i + 1] end
local conv = more.conv

-- Before admission, because what was asked once is not admitted again.
local idem = more.idem and K.idem .. more.idem
local known = idem and redis.call('GET', idem)
if known then
  local whose, digest = string.match(known, '^(%S+) (%S+)')
  if whose == id then return { 'ok', '0' } end
  if digest ~= more.idem_body then return { 'reused', '0' } end
  return { 'same', known }
end

-- Whether somebody has the turn in the conversation; a code if the run may not be part of it.
local function turn_is_taken()
  local key = K.conversation .. conv
  local whose = redis.call('HGET', key, 'principal')
  if whose and whose ~= principal or not whose and more.unknown == 'refuse' then
    return nil, 'conversation_not_found'
  end
  local current = redis.call('HGET', key, 'run')
  local st = current and redis.call('HGET', K.run .. current, 'st')
  if (not st or st == 'done') and redis.call('LLEN', K.waiting .. conv) > 0 then
    advance(conv, now)
    return redis.call('HEXISTS', key, 'run') == 1
  end
  return st and st ~= 'done'
end

-- What a newcomer would wait, in ms: the measured wait, or the age of the oldest if that is more.
local function wait_ms()
  local wait = tonumber(redis.call('HGET', K.stats .. pool, 'wait_ms') or 0)
  local head = redis.call('ZRANGE', K.queue .. pool, 0, 0, 'WITHSCORES')
  if head[2] then wait = math.max(wait, now - tonumber(head[2])) end
  return int(wait)
end

-- What was admitted before, though the answer was lost, is not refused now.
local function refuse(code)
  if redis.call('EXISTS', log) == 1 then return { 'ok', '0' } end
  return { code, wait_ms() }
end

-- The worker seen last can run it in most cases; others are looked at only where it cannot.
local function is_able()
  local workers, since = K.workers .. pool, now - C.seen_ms
  local last = redis.call('ZREVRANGEBYSCORE', workers, '+inf', since, 'LIMIT', '0', '1')[1]
  if not last then return false end
  if redis.call('SISMEMBER', K.agents .. last, agent) == 1 then return true end
  for _, worker in ipairs(redis.call('ZREVRANGEBYSCORE', workers, '+inf', since)) do
    if redis.call('SISMEMBER', K.agents .. worker, agent) == 1 then return true end
  end
  return false
end

local waits = false
if conv then
  local code
  waits, code = turn_is_taken()
  if code then return refuse(code) end
end
local active = redis.call('SCARD', actives)
if max_concurrent > 0 and active >= max_concurrent then return refuse('concurrency_limit') end
if waits then
  if redis.call('LLEN', K.waiting .. conv) >= tonumber(more.max_waiting) then
    return refuse('conversation_full')
  end
elseif redis.call('ZCARD', K.queue .. pool) >= max_queue then
  return refuse('queue_full')
end
if not is_able() then return refuse('agent_unavailable') end

-- The first write, which Redis refuses if it has no memory left, and if the log exists.
local created = redis.pcall('XADD', log, '0-1', 'f', '[1,["created",' .. at .. ']]')
if type(created) == 'table' and created.err then
  return redis.call('EXISTS', log) == 1 and { 'ok', '0' } or created
end
redis.call('PEXPIRE', log, ARGV[13])
redis.call('SET', K.job .. id, ARGV[14], 'PX', ARGV[13])
local st, exp = 'queued', int(now + tonumber(ARGV[10]))
if waits then st, exp = 'waiting', int(now + tonumber(more.wait_ms)) end
local fields = { 'st', st, 'agent', agent, 'pool', pool, 'principal', principal,
  'score', at, 'tmo', ARGV[9], 'exp', exp }
local function note(name, value, default)
  if value ~= default then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end
note('reply', reply, '')
note('stream', ARGV[6], '0')
note('lost', ARGV[7], 'fail')
note('slots', ARGV[8], '1')
if more.record then
  local all, kept_ms = K.responses .. principal, C.responses_ms
  if more.lists then all, kept_ms = K.completions .. principal, C.completions_ms end
  -- All of one score, so that they stand in the order of their ids, which begin with the time.
  local function enlist(list)
    redis.call('ZREMRANGEBYLEX', list, '-', '(a' .. string.format('%011x', now - kept_ms))
    redis.call('ZADD', list, '0', id)
    redis.call('PEXPIRE', list, int(kept_ms))
  end
  note('kept', '1')
  note('lists', more.lists)
  redis.call('SET', K.record .. id, more.record, 'PX', int(kept_ms))
  enlist(all)
  for mark in string.gmatch(more.lists or '', '%S+') do enlist(K.listed .. mark) end
end
if idem then
  note('idem', string.sub(more.idem, #principal + 2)) -- in full it takes four times the memory
  note('idem_ms', more.idem_ms)
  local life_ms = int(more.idem_ms + ARGV[9] + ARGV[13]) -- longer than the run; its end cuts it
  redis.call('SET', idem, id .. ' ' .. more.idem_body .. ' ' .. (conv or ''), 'PX', life_ms)
end
if more.rhooks then note('rhooks', more.rhooks) end
if conv then
  local key, mine = K.conversation .. conv, K.conversations .. principal
  redis.call('HSETNX', key, 'created', at)
  redis.call('HSET', key, 'principal', principal, 'updated', at, 'model', more.model)
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', int(now - C.conversations_ms))
  redis.call('ZADD', mine, at, conv)
  redis.call('PEXPIRE', mine, S.conversations_ms)
  note('conv', conv)
  note('qto', ARGV[10])
  note('hooks', more.hooks, '0')
  if waits then
    redis.call('RPUSH', K.waiting .. conv, id)
    redis.call('ZADD', K.waits, exp, id)
  else
    redis.call('HSET', key, 'run', id)
  end
  keep_conversation(conv)
end
redis.call('HSET', run, unpack(fields))
redis.call('PEXPIRE', run, ARGV[13])
redis.call('SADD', actives, id)
if active == 0 then redis.call('SADD', K.principals, principal) end
if not waits then
  redis.call('ZADD', K.queue .. pool, at, id)
  wake(pool)
end
return { 'ok', '0' }
