-- Gives a worker the first runs of its pools that fit it. Refused when its lease is gone.
-- ARGV: worker free suspects(0|1: may it take one) pool...
-- Returns {'lost'}, or {left, run...}: left says whether runs wait still, a run is
-- {id, stream_id of its `attempt`, attempt, ms to its deadline or -1, reply, stream, suspect, slots, job}.
local worker, free, may_suspect = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
if redis.call('EXISTS', K.lease .. worker) == 0 then return { 'lost' } end
local now = now_ms()
local taken, left, able = { '0' }, false, {}
-- Of the pool at hand: who is taken and their scores, how many for the first time, what they waited.
local held, firsts, waited_ms

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
  local s = state(id)
  s.adopted = true
  return s
end

-- A first attempt is the second entry of its log, which needs no look. Nor is it published: its
-- reader waits for output, and would be woken for nothing.
local function append_first(id, epoch)
  local stream_id = int(epoch) .. '-2'
  local frame = '[2,["attempt",1,null]]'
  return redis.call('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame) and stream_id
end

local UNRECORDED =
  '["failed","worker_lost","The worker of this run was lost, and not all that it had done is recorded."]'

-- An empty entry says that the run went on without its journal. One that is gone while there are
-- steps would have their work done anew, and their words said twice.
local function is_unrecorded(id, steps)
  local last = redis.call('LINDEX', K.journal .. id, '-1')
  return last == '' or steps and not last
end

local function append_next(id, s, epoch, attempt)
  local first, shown, steps
  if s.attempt > 0 then first, shown, steps = said(id) end
  shown = shown and s.stream
  local drop_from = first and not shown and int(first) or 'null'
  local event = '["attempt",' .. attempt .. ',' .. drop_from .. ']'
  local lost = shown and s.lost ~= 'continue' and LOST_AFTER_OUTPUT
  if s.attempt > 0 and is_unrecorded(id, steps) then lost = UNRECORDED end
  return append_event(id, s, epoch, event), lost
end

local function take(id, s, suspect)
  local epoch, attempt, stream_id, lost = next_epoch(s, now), int(s.attempt + 1), nil, nil
  if s.attempt == 0 and not s.adopted then
    stream_id = append_first(id, epoch)
  else
    stream_id, lost = append_next(id, s, epoch, attempt)
  end
  if s.dl == 0 and s.tmo > 0 then s.dl = now + s.tmo end
  redis.call('HSET', K.run .. id, 'st', 'running', 'epoch', int(epoch), 'attempt', attempt,
    'owner', worker, 'dl', int(s.dl))
  s.epoch, s.owner = epoch, worker
  local job = redis.call('GET', K.job .. id)
  if not job or not stream_id then
    end_run(id, s, '["failed","run_lost","The request of the run is gone."]', 'failed', now)
  elseif lost then
    end_run(id, s, lost, 'failed', now)
  else
    held[#held + 1] = id
    held[#held + 1] = s.score
    local ms = s.dl > 0 and s.dl - now or -1
    table.insert(taken, { id, stream_id, attempt, int(ms), s.reply or '', s.stream and '1' or '0',
      suspect and '1' or '0', int(s.slots), job })
    return true
  end
end

-- The wait of those who were taken for the first time is told to those who are refused.
local function measure(pool)
  local before = redis.call('HGET', K.stats .. pool, 'wait_ms') or '0'
  local after = int(math.floor(tonumber(before) * 0.8 + waited_ms / firsts * 0.2 + 0.5))
  if after ~= before then redis.call('HSET', K.stats .. pool, 'wait_ms', after) end
end

local function is_able(agent)
  if able[agent] == nil then
    able[agent] = redis.call('SISMEMBER', K.agents .. worker, agent) == 1
  end
  return able[agent]
end

-- What becomes of one entry of a queue: 'taken' · 'stays' · 'left' it is out of the queue, though
-- not here · 'ended' so is it, and the next of its conversation may be in · 'first' it has waited
-- long enough: the slots that get free are kept for it, nobody passes it any more.
local function consider(queue, pool, id, score, suspect)
  local s = state(id)
  if not s then
    if tonumber(score) > now then return 'stays' end -- deferred by stock arq
    s = adopt(id, pool, score)
  end
  if not s or s.st ~= 'queued' then
    redis.call('ZREM', queue, id)
    return 'left'
  end
  local event, outcome = overdue(s, now)
  if event then
    end_run(id, s, event, outcome, now)
    return 'ended'
  end
  if not is_able(s.agent) then return 'stays' end
  if s.slots > free then return now - tonumber(score) > C.patience_ms and 'first' or 'stays' end
  redis.call('ZREM', queue, id)
  if s.attempt == 0 then waited_ms, firsts = waited_ms + now - tonumber(score), firsts + 1 end
  if not take(id, s, suspect) then return 'ended' end
  free = free - s.slots
  return 'taken'
end

-- How many of those that wait are for this worker.
local function share(queue, pool, seen)
  local queued = seen < C.page and seen or redis.call('ZCARD', queue)
  if queued < 2 then return queued end
  local live = redis.call('ZCOUNT', K.workers .. pool, now - C.seen_ms, '+inf')
  return math.ceil(queued / math.max(1, live))
end

-- Looks in pages, for most often the first few are all that fit. Answers whether the queue holds
-- runs still.
local function claim_from(queue, pool, suspect)
  local looked, stay, limit, has_ended = 0, 0, suspect and 1, false
  while looked < C.look do
    local from, to = '0', S.page_end
    if stay > 0 then from, to = stay, stay + C.page_end end
    local entries = redis.call('ZRANGE', queue, from, to, 'WITHSCORES')
    limit = limit or share(queue, pool, #entries / 2)
    for i = 1, #entries, 2 do
      if limit <= 0 or free <= 0 then return true end
      local what = consider(queue, pool, entries[i], entries[i + 1], suspect)
      if what == 'first' then return true end
      if what == 'taken' then limit = limit - 1 end
      if what == 'stays' then stay = stay + 1 end
      has_ended = has_ended or what == 'ended'
    end
    looked = looked + #entries / 2
    if #entries < 2 * C.page then
      return stay > 0 or has_ended and redis.call('ZCARD', queue) > 0
    end
  end
  return true
end

for i = 4, #ARGV do
  local pool, before, more = ARGV[i], #taken, false
  held, firsts, waited_ms = {}, 0, 0
  if may_suspect then
    more = claim_from(K.suspects .. pool, pool, true)
    may_suspect = #taken == before
  else
    more = redis.call('ZCARD', K.suspects .. pool) > 0
  end
  more = claim_from(K.queue .. pool, pool, false) or more
  if more then
    left = true
    if #taken > before then wake(pool) end
  else
    redis.call('DEL', K.wake .. pool)
  end
  if held[1] then redis.call('HSET', K.held .. worker, unpack(held)) end
  if firsts > 0 then measure(pool) end
end
if left then taken[1] = '1' end
return taken
