-- Finds what nobody else will: runs of dead workers, runs that are overdue, queues that nobody wakes.
-- ARGV: (none). Returns {runs taken from dead workers, runs ended, hold(0|1)}.
local now = now_ms()
local last = tonumber(redis.call('GET', K.sweep_last) or 0)
local gap = now - last
if gap >= 0 and gap < C.sweep_min_ms then return { 0, 0, 0 } end
despite_full_memory()
redis.call('SET', K.sweep_last, int(now))
-- Nobody swept for a while, or the clock was set back: expiries prove nothing yet.
if gap < 0 or gap > C.sweep_gap_ms then redis.call('SET', K.sweep_hold, '1', 'PX', S.lease_ttl_ms) end
local hold = redis.call('EXISTS', K.sweep_hold) == 1
local moved, ended = 0, 0

local function take_back(id, s)
  s.crashes = s.crashes + 1
  redis.call('HSET', K.run .. id, 'crashes', int(s.crashes), 'back', int(now))
  local event, outcome = overdue(s, now)
  if not event and s.crashes >= C.max_attempts then
    event = '["failed","worker_lost","The run was lost with its worker ' .. int(s.crashes) .. ' times."]'
    outcome = 'failed'
  end
  if event then
    end_run(id, s, event, outcome, now)
    ended = ended + 1
  else
    enqueue(id, s, now)
    moved = moved + 1
  end
end

local function bury(worker)
  local rows = redis.call('HGETALL', K.held .. worker)
  for i = 1, #rows, 2 do
    if moved + ended >= C.batch then return end
    local id = rows[i]
    redis.call('HDEL', K.held .. worker, id)
    local s = state(id)
    if s and s.st == 'running' and s.owner == worker then
      s.score = rows[i + 1]
      take_back(id, s)
    end
  end
  redis.call('DEL', K.cancels .. worker)
  redis.call('SREM', K.holders, worker)
end

if not hold then
  for _, worker in ipairs(redis.call('SMEMBERS', K.holders)) do
    if redis.call('EXISTS', K.lease .. worker) == 0 then bury(worker) end
  end
end

-- A stream that showed something can only end with an error. The claim of its next attempt writes
-- that; where nobody claims, its client would wait for nothing.
local function is_stranded(id, s)
  if not s.stream or s.lost == 'continue' or s.back == 0 or now - s.back < C.patience_ms then
    return false
  end
  local _, shown = said(id)
  return shown
end

local function sweep_queue(queue)
  local ids = redis.call('ZRANGE', queue, '0', S.look_end)
  if not ids[1] then return 0 end
  for _, id in ipairs(ids) do
    local s = state(id)
    if s and s.st == 'queued' then
      local event, outcome = overdue(s, now)
      if not event and is_stranded(id, s) then event, outcome = LOST_AFTER_OUTPUT, 'failed' end
      if event then
        end_run(id, s, event, outcome, now)
        ended = ended + 1
      end
    elseif s or redis.call('EXISTS', K.job .. id) == 0 then
      redis.call('ZREM', queue, id)
    end
  end
  return redis.call('ZCARD', queue)
end

for _, pool in ipairs(redis.call('SMEMBERS', K.pools)) do
  if sweep_queue(K.queue .. pool) + sweep_queue(K.suspects .. pool) > 0 then wake(pool) end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.waits, '-inf', int(now), 'LIMIT', '0', S.look)) do
  local s = state(id)
  if s and s.st == 'waiting' then
    local event, outcome = overdue(s, now)
    end_run(id, s, event, outcome, now)
    ended = ended + 1
  else
    redis.call('ZREM', K.waits, id)
  end
end

-- A run that waits for its turn for an API process that is gone would take it for nobody. A channel
-- without a listener proves that only when it has none a while later too.
local function end_unheard()
  local heard = {}
  for _, id in ipairs(redis.call('ZRANDMEMBER', K.waits, C.look)) do
    local s, key = state(id), K.run .. id
    local reply = s and s.st == 'waiting' and not s.read and s.reply or ''
    if reply ~= '' and heard[reply] == nil then
      heard[reply] = redis.call('PUBSUB', 'NUMSUB', reply)[2] > 0
    end
    local deaf = tonumber(reply ~= '' and redis.call('HGET', key, 'deaf') or nil)
    if reply == '' or heard[reply] then
      if deaf then redis.call('HDEL', key, 'deaf') end
    elseif not deaf then
      redis.call('HSET', key, 'deaf', int(now))
    elseif now - deaf >= C.tidy_ms then
      s.cancel = 'The client went away.'
      local event, outcome = overdue(s, now)
      end_run(id, s, event, outcome, now)
      ended = ended + 1
    end
  end
end

if redis.call('SET', K.sweep_tidy, '1', 'NX', 'PX', S.tidy_ms) then
  for _, pool in ipairs(redis.call('SMEMBERS', K.pools)) do
    redis.call('ZREMRANGEBYSCORE', K.workers .. pool, '-inf', int(now - C.forget_ms))
  end
  for _, principal in ipairs(redis.call('SMEMBERS', K.principals)) do
    local ids = redis.call('SRANDMEMBER', K.active .. principal, C.look)
    if #ids == 0 then redis.call('SREM', K.principals, principal) end
    for _, id in ipairs(ids) do
      local st = redis.call('HGET', K.run .. id, 'st')
      if not st or st == 'done' then redis.call('SREM', K.active .. principal, id) end
    end
  end
  if not hold then end_unheard() end
  -- Whose turn was lost with the state of a run, nobody else will call.
  for _, id in ipairs(redis.call('ZRANGE', K.waits, '0', S.look_end)) do
    local conv = redis.call('HGET', K.run .. id, 'conv')
    local current = conv and redis.call('HGET', K.conversation .. conv, 'run')
    if conv and not (current and redis.call('EXISTS', K.run .. current) == 1) then
      advance(conv, now)
    end
  end
end
return { moved, ended, hold and 1 or 0 }
