-- Admits runs and puts them on their queues: all that one process asked for in one tick of its loop,
-- for a call costs as much as a run. Each is by itself, and idempotent by run id: a log that exists
-- answers the same.
-- ARGV: 'runs' queue_timeout_ms max_queue, then of each run: how many follow, and these:
--       id who(agent pool principal) reply terms(timeout_ms slots lost stream) max_concurrent kept_ms
--       job, then names and values of what not every run has:
--       record   what is stored of the request, sealed; the result is then stored too
--       rhooks(1)   webhooks of responses are to hear of its end
--       lists    that of a completion: the marks of the lists which it is in beside its principal's
--       conv wait_ms max_waiting unknown(create|refuse) model hooks(0|1)   its conversation
--       idem idem_body idem_ms   whose Idempotency-Key it has, as `<principal>:<digest>`, the digest of
--         what was asked, and how long both are kept after its end. The key in Redis holds
--         `<run id> <digest of what was asked> <conversation or ''>`
-- Returns for each run {'ok', wait_ms} or {code, wait_ms}, or the error that Redis has for its log. Of
-- a key that another run has, {'same', what it holds} if that was asked the same, else {'reused', 0}.
-- Or notes that somebody beside the one who asked reads the run: what it has said counts as shown.
-- ARGV: 'read' id
-- Returns {'ok', attempts so far}, or {'gone', 0}.
if ARGV[1] == 'read' then
  local id = ARGV[2]
  local s = state(id)
  if not s then return { 'gone', 0 } end
  if s.st ~= 'done' and not s.read then
    despite_full_memory() -- one short field, and the reader would be refused
    redis.call('HSET', K.run .. id, 'read', '1')
  end
  return { 'ok', s.attempt }
end
-- Or puts a turn that no run took into a conversation, or in the place of what it `was` until now.
-- ARGV: 'turn' id conv principal turn was('' for a new one)
-- Returns 'ok' · 'gone' the principal has no such conversation · 'changed' it is not what it was.
if ARGV[1] == 'turn' then
  local id, conv, principal, turn, was = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
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
local queue_timeout_ms, max_queue = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local at, queued_until = int(now), int(now + queue_timeout_ms)

-- What is found out once for all runs of the call, and what is written for all at its end: of each
-- pool how many wait, which agents have a worker, and what is to be queued; of each principal how
-- many runs it had, and those that are new.
local pools, principals = {}, {}

local function pool_of(name)
  local pool = pools[name]
  if not pool then
    pool = { waiting = redis.call('ZCARD', K.queue .. name), able = {}, new = {} }
    pools[name] = pool
  end
  return pool
end

local function principal_of(name)
  local principal = principals[name]
  if not principal then
    principal = { active = redis.call('SCARD', K.active .. name), new = {} }
    principals[name] = principal
  end
  return principal
end

-- The worker seen last can run it in most cases; others are looked at only where it cannot.
local function has_worker(pool, agent)
  local workers, since = K.workers .. pool, now - C.seen_ms
  local last = redis.call('ZREVRANGEBYSCORE', workers, '+inf', since, 'LIMIT', '0', '1')[1]
  if not last then return false end
  if redis.call('SISMEMBER', K.agents .. last, agent) == 1 then return true end
  for _, worker in ipairs(redis.call('ZREVRANGEBYSCORE', workers, '+inf', since)) do
    if redis.call('SISMEMBER', K.agents .. worker, agent) == 1 then return true end
  end
  return false
end

local function is_able(pool, agent)
  local able = pool_of(pool).able
  if able[agent] == nil then able[agent] = has_worker(pool, agent) end
  return able[agent]
end

-- Before admission, because what was asked once is not admitted again.
local function known_by_key(id, more)
  local known = redis.call('GET', K.idem .. more.idem)
  if not known then return nil end
  local whose, digest = string.match(known, '^(%S+) (%S+)')
  if whose == id then return { 'ok', '0' } end
  if digest ~= more.idem_body then return { 'reused', '0' } end
  return { 'same', known }
end

-- Whether somebody has the turn in the conversation; a code if the run may not be part of it.
local function turn_is_taken(conv, principal, more)
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
local function wait_ms(pool)
  local wait = tonumber(redis.call('HGET', K.stats .. pool, 'wait_ms') or 0)
  local head = redis.call('ZRANGE', K.queue .. pool, 0, 0, 'WITHSCORES')
  if head[2] then wait = math.max(wait, now - tonumber(head[2])) end
  return int(wait)
end

-- What a run may not have, as a code; nil if it is admitted.
local function refusal(agent, pool, principal, max_concurrent, waits, more)
  if max_concurrent > 0 and principal_of(principal).active >= max_concurrent then
    return 'concurrency_limit'
  end
  if waits then
    if redis.call('LLEN', K.waiting .. more.conv) >= tonumber(more.max_waiting) then
      return 'conversation_full'
    end
  elseif pool_of(pool).waiting >= max_queue then
    return 'queue_full'
  end
  if not is_able(pool, agent) then return 'agent_unavailable' end
end

-- All of one score, so that they stand in the order of their ids, which begin with the time.
local function enlist(list, id, kept_ms)
  redis.call('ZREMRANGEBYLEX', list, '-', '(a' .. string.format('%011x', now - kept_ms))
  redis.call('ZADD', list, '0', id)
  redis.call('PEXPIRE', list, int(kept_ms))
end

local function keep_record(id, principal, more)
  local all, kept_ms = K.responses .. principal, C.responses_ms
  if more.lists then all, kept_ms = K.completions .. principal, C.completions_ms end
  redis.call('SET', K.record .. id, more.record, 'PX', int(kept_ms))
  enlist(all, id, kept_ms)
  for mark in string.gmatch(more.lists or '', '%S+') do enlist(K.listed .. mark, id, kept_ms) end
end

local function join_conversation(id, principal, exp, waits, more)
  local conv = more.conv
  local key, mine = K.conversation .. conv, K.conversations .. principal
  redis.call('HSETNX', key, 'created', at)
  redis.call('HSET', key, 'principal', principal, 'updated', at, 'model', more.model)
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', int(now - C.conversations_ms))
  redis.call('ZADD', mine, at, conv)
  redis.call('PEXPIRE', mine, S.conversations_ms)
  if waits then
    redis.call('RPUSH', K.waiting .. conv, id)
    redis.call('ZADD', K.waits, exp, id)
  else
    redis.call('HSET', key, 'run', id)
  end
  keep_conversation(conv)
end

local function admit(first, past)
  local id, who, reply, terms = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
  local max_concurrent, kept_ms, job = tonumber(ARGV[first + 4]), ARGV[first + 5], ARGV[first + 6]
  local agent, pool, principal = string.match(who, '^(%S+) (%S+) (.*)$')
  local log, run, more = K.log .. id, K.run .. id, {}
  for i = first + 7, past - 1, 2 do more[ARGV[i]] = ARGV[i + 1] end

  local known = more.idem and known_by_key(id, more)
  if known then return known end
  local waits, code = false, nil
  if more.conv then waits, code = turn_is_taken(more.conv, principal, more) end
  code = code or refusal(agent, pool, principal, max_concurrent, waits, more)
  if code then
    -- What was admitted before, though the answer was lost, is not refused now.
    if redis.call('EXISTS', log) == 1 then return { 'ok', '0' } end
    return { code, wait_ms(pool) }
  end

  -- The first write, which Redis refuses if it has no memory left, and if the log exists.
  local created = redis.pcall('XADD', log, '0-1', 'f', '[1,["created",' .. at .. ']]')
  if type(created) == 'table' and created.err then
    if redis.call('EXISTS', log) == 1 then return { 'ok', '0' } end
    return { err = words_of(created) }
  end
  redis.call('PEXPIRE', log, kept_ms)
  redis.call('SET', K.job .. id, job, 'PX', kept_ms)
  local st, exp = 'queued', queued_until
  if waits then st, exp = 'waiting', int(now + tonumber(more.wait_ms)) end
  local fields = { 'st', st, 'terms', at .. ' ' .. exp .. ' ' .. terms }
  local function note(name, value, default)
    if value ~= default then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  if #who <= 64 then
    note('who', who)
  else
    note('agent', agent)
    note('pool', pool)
    note('principal', principal)
  end
  note('reply', reply, '')
  if more.record then
    note('kept', '1')
    note('lists', more.lists)
    keep_record(id, principal, more)
  end
  if more.idem then
    note('idem', string.sub(more.idem, #principal + 2)) -- in full it takes four times the memory
    note('idem_ms', more.idem_ms)
    -- Longer than the run lives; its end cuts it.
    local life_ms = int(more.idem_ms + string.match(terms, '^%d+') + kept_ms)
    local holds = id .. ' ' .. more.idem_body .. ' ' .. (more.conv or '')
    redis.call('SET', K.idem .. more.idem, holds, 'PX', life_ms)
  end
  note('rhooks', more.rhooks)
  if more.record or more.idem or more.rhooks or more.conv then note('more', '1') end
  if more.conv then
    note('conv', more.conv)
    note('qto', ARGV[2])
    note('hooks', more.hooks, '0')
    join_conversation(id, principal, exp, waits, more)
  end
  redis.call('HSET', run, unpack(fields))
  redis.call('PEXPIRE', run, kept_ms)
  local its, queue = principal_of(principal), pool_of(pool)
  its.active = its.active + 1
  its.new[#its.new + 1] = id
  if not waits then
    queue.waiting = queue.waiting + 1
    queue.new[#queue.new + 1] = at
    queue.new[#queue.new + 1] = id
  end
  return { 'ok', '0' }
end

local answers, first = {}, 5
while first <= #ARGV do
  local past = first + ARGV[first - 1]
  local fine, answer = pcall(admit, first, past) -- what is wrong with one is no other's
  answers[#answers + 1] = fine and answer or { err = words_of(answer) }
  first = past + 1
end
for name, principal in pairs(principals) do
  if principal.new[1] then
    redis.call('SADD', K.active .. name, unpack(principal.new))
    if principal.active == #principal.new then redis.call('SADD', K.principals, name) end
  end
end
for name, pool in pairs(pools) do
  if pool.new[1] then
    redis.call('ZADD', K.queue .. name, unpack(pool.new))
    wake(name)
  end
end
return answers
