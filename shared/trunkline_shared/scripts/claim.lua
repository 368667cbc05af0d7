-- Gives a worker the first runs of its pools that fit it. Refused when its lease is gone.
-- ARGV: worker free suspects(0|1: may it take one) pool...
-- Returns {'lost'}, or {left, run...}: left says whether runs wait still, a run is
-- {id, stream_id of its `attempt`, attempt, ms to its deadline or -1, reply, stream, suspect, slots, job}.
local worker, free, may_suspect = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
if redis.call('EXISTS', K.lease .. worker) == 0 then return { 'lost' } end
local now = now_ms()
local taken, left = { '0' }, false

-- A job that stock arq enqueued has neither log nor state yet.
local function adopt(id, pool, score)
  -- Who reads a run reads its id too, and finds in it when the run was asked for.
  if not string.find(id, '^%l' .. string.rep('%x', 27) .. '$') then return nil end
  local job = redis.call('GET', K.job .. id)
  local fine, values = pcall(cjson.decode, job or '')
  local request = fine and type(values) == 'table' and type(values.k) == 'table' and values.k.request
  if type(request) ~= 'table' or type(request.agent) ~= 'string' then return nil end
  local principal = type(request.principal) == 'string' and request.principal or ''
  if not log_top(id) then
    redis.call('XADD', K.log .. id, '0-1', 'f', '[1,["created",' .. score .. ']]')
  end
  redis.call('PEXPIRE', K.log .. id, C.slack_ms)
  redis.call('HSET', K.run .. id, 'st', 'queued', 'agent', request.agent, 'pool', pool, 'principal',
    principal, 'reply', type(request.reply) == 'string' and request.reply or '', 'stream',
    request.stream == true and '1' or '0', 'lost', 'fail', 'score', score)
  redis.call('PEXPIRE', K.run .. id, C.slack_ms)
  return state(id)
end

local function take(id, s, suspect)
  local epoch = next_epoch(s, now)
  local first, shown
  if s.attempt > 0 then first, shown = said(id) end
  shown = shown and s.stream
  local drop_from = first and not shown and int(first) or 'null'
  local attempt = int(s.attempt + 1)
  local stream_id = append_event(id, s, epoch, '["attempt",' .. attempt .. ',' .. drop_from .. ']')
  if s.dl == 0 and s.tmo > 0 then s.dl = now + s.tmo end
  redis.call('HSET', K.run .. id, 'st', 'running', 'epoch', int(epoch), 'attempt', attempt,
    'owner', worker, 'dl', int(s.dl))
  s.epoch, s.owner = epoch, worker
  local job = redis.call('GET', K.job .. id)
  if not job or not stream_id then
    end_run(id, s, '["failed","run_lost","The request of the run is gone."]', 'failed', now)
  elseif shown and s.lost ~= 'continue' then
    end_run(id, s, LOST_AFTER_OUTPUT, 'failed', now)
  else
    redis.call('HSET', K.held .. worker, id, s.score)
    redis.call('SADD', K.holders, worker)
    local ms = s.dl > 0 and s.dl - now or -1
    table.insert(taken, { id, stream_id, attempt, int(ms), s.reply or '', s.stream and '1' or '0',
      suspect and '1' or '0', int(s.slots), job })
    return true
  end
end

local function measure(pool, score)
  local before = tonumber(redis.call('HGET', K.stats .. pool, 'wait_ms') or 0)
  redis.call('HSET', K.stats .. pool, 'wait_ms', int(before * 0.8 + (now - tonumber(score)) * 0.2))
end

local function claim_from(queue, pool, limit, suspect)
  local entries = redis.call('ZRANGE', queue, 0, C.look - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    if limit <= 0 or free <= 0 then return end
    local id, score = entries[i], entries[i + 1]
    local s = state(id)
    local deferred = not s and tonumber(score) > now -- by stock arq
    if not s and not deferred then s = adopt(id, pool, score) end
    local event, outcome
    if s and s.st == 'queued' then event, outcome = overdue(s, now) end
    if event then
      end_run(id, s, event, outcome, now)
    elseif s and s.st == 'queued' then
      local able = redis.call('SISMEMBER', K.agents .. worker, s.agent) == 1
      if able and s.slots <= free then
        redis.call('ZREM', queue, id)
        if s.attempt == 0 then measure(pool, score) end
        if take(id, s, suspect) then free, limit = free - s.slots, limit - 1 end
      elseif able and now - tonumber(score) > C.patience_ms then
        return -- it has waited long enough: the slots that get free are kept for it
      end
    elseif not deferred then
      redis.call('ZREM', queue, id)
    end
  end
end

for i = 4, #ARGV do
  local pool = ARGV[i]
  local before = #taken
  if may_suspect then
    claim_from(K.suspects .. pool, pool, 1, true)
    may_suspect = #taken == before
  end
  local live = math.max(1, redis.call('ZCOUNT', K.workers .. pool, now - C.seen_ms, '+inf'))
  local queued = redis.call('ZCARD', K.queue .. pool)
  claim_from(K.queue .. pool, pool, math.ceil(queued / live), false)
  if redis.call('ZCARD', K.queue .. pool) > 0 or redis.call('ZCARD', K.suspects .. pool) > 0 then
    left = true
    if #taken > before then wake(pool) end
  else
    redis.call('DEL', K.wake .. pool)
  end
end
if left then taken[1] = '1' end
return taken
