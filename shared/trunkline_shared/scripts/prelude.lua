-- What the scripts share. The loader gives each script those parts (a definition each, with an empty
-- line between them) that it uses, and writes key stems for K.name, numbers for C.name and the same
-- as strings for S.name: to hand a number to Redis costs as much more as half a command.
--
-- A run's state is the hash K.run..id. What was submitted stands in two fields, for each costs at
-- every look; none may have more than 64 bytes, or the hash takes four times the memory:
--   who   agent, pool and principal; longer ones are fields of their own
--   terms   score exp tmo slots lost(fail|continue) stream(0|1). A field of one of these names stands
--      over it: its place in the queue, Unix ms until the first claim, ms from that to its deadline
-- What is empty or 0 is not there:
--   st queued|waiting|running|done   reply   its reader's channel
--   epoch owner attempt crashes dl   who may write, how often it was taken, Unix ms of the deadline
--   read 1: somebody else than the one who asked reads it, and so what it says counts as shown
--   cancel out   why it is to end, how it ended
--   more 1: it has one of kept, idem, rhooks and conv, which its end concerns beyond what each run has
--   back   Unix ms when it was taken from a dead worker
--   kept 1: has a record, its result is to be stored
--   idem idem_ms   digest of its Idempotency-Key, for which its result is stored too, and for how many ms
--   lists   of a completion that is kept: marks of the lists that it is in
--   conv qto hooks   its conversation, ms it may be queued once its turn comes, 1: webhooks hear of it
--   rhooks   1: webhooks of responses hear of its end
--   deaf   Unix ms since when nobody listens to `reply`, while it waits for its turn
-- A conversation is the hash K.conversation..id:
--   principal created updated model run   whose it is, Unix ms, what was named last, who has the turn
--   status   how the last turn ended: finished|error|paused
--   forked_from forked_event   where it was copied from

-- Of a whole number: that costs a fifth of writing a float.
local function int(n) return string.format('%d', n) end

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- In one look: to ask for fields by name costs as much for each that is not there.
local function state(id)
  local v, s = redis.call('HGETALL', K.run .. id), {}
  if not v[1] then return nil end
  for i = 1, #v, 2 do s[v[i]] = v[i + 1] end
  if s.who then s.agent, s.pool, s.principal = string.match(s.who, '^(%S+) (%S+) (.*)$') end
  if s.terms then
    local score, exp, tmo, slots, lost, stream =
      string.match(s.terms, '^(%d+) (%d+) (%d+) (%d+) (%l+) (%d)$')
    s.score, s.exp, s.tmo = s.score or score, s.exp or exp, s.tmo or tmo
    s.slots, s.lost, s.stream = s.slots or slots, s.lost or lost, s.stream or stream
  end
  s.stream, s.lost = s.stream == '1' or s.read == '1', s.lost or 'fail'
  s.owner, s.cancel = s.owner or '', s.cancel or ''
  s.slots, s.exp, s.tmo = tonumber(s.slots or 1), tonumber(s.exp or 0), tonumber(s.tmo or 0)
  s.epoch, s.attempt, s.dl = tonumber(s.epoch or 0), tonumber(s.attempt or 0), tonumber(s.dl or 0)
  s.crashes, s.back = s.crashes and tonumber(s.crashes) or 0, s.back and tonumber(s.back) or 0
  return s
end

-- Epoch and seq of the last event in the log, or nil without a log.
local function log_top(id)
  local top = redis.call('XREVRANGE', K.log .. id, '+', '-', 'COUNT', '1')[1]
  if not top then return nil end
  local epoch, seq = string.match(top[1], '^(%d+)%-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

-- What a reader gets: one line a frame.
local function publish(reply, id, stream_id, frame)
  if reply and reply ~= '' then
    redis.call('PUBLISH', reply, id .. ' ' .. stream_id .. ' ' .. frame)
  end
end

-- The words of an error that was caught. That this server is no primary any more concerns the whole
-- call: who made it looks for another server when it hears so, and asks again.
local function words_of(failure)
  local words = tostring(type(failure) == 'table' and failure.err or failure)
  if string.find(words, 'READONLY', 1, true) then error(words) end
  return words
end

-- Puts an owner's frame at the end of the log, exactly once and without a hole. Answers
-- 'added' · 'known' it was there already · 'gone' no log · 'fenced' a higher epoch has the run ·
-- 'early' an earlier frame is missing · 'full' Redis is out of memory · 'refused' anything else.
-- Who knows that the frame `follows` the top saves the look at it, which costs as much as all the rest.
local function append_frame(id, stream_id, frame, follows)
  if follows then
    local answer = redis.pcall('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame)
    if not answer then return 'gone' end
    if type(answer) ~= 'table' or not answer.err then return 'added' end
  end
  local top_epoch, top_seq = log_top(id)
  if not top_epoch then return 'gone' end
  local epoch, last = string.match(stream_id, '^(%d+)%-(%d+)$')
  if top_epoch > tonumber(epoch) then return 'fenced' end
  if top_seq >= tonumber(last) then
    local there = #redis.call('XRANGE', K.log .. id, stream_id, stream_id) == 1
    return there and 'known' or 'refused'
  end
  local first = tonumber(string.match(frame, '^%[(%d+)'))
  if top_seq + 1 < first then return 'early' end
  if top_seq + 1 > first then return 'refused' end
  local answer = redis.pcall('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame)
  if type(answer) ~= 'table' or not answer.err then return 'added' end
  -- Versions put different words before it.
  return string.find(words_of(answer), 'OOM', 1, true) and 'full' or 'refused'
end

-- Writes one event by someone who takes the run's log over, under the epoch given. Answers its
-- stream id; nil if the log is gone.
local function append_event(id, s, epoch, event)
  local _, seq = log_top(id)
  if not seq then return nil end
  local stream_id = int(epoch) .. '-' .. int(seq + 1)
  local frame = '[' .. int(seq + 1) .. ',' .. event .. ']'
  redis.call('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame)
  publish(s.reply, id, stream_id, frame)
  return stream_id
end

local function next_epoch(s, now) return math.max(s.epoch + 1, now) end

-- Redis without memory refuses a script's first write if it may grow, and none after one that may
-- not, be it in vain. What ends a run frees more than it takes, so it begins with this.
local function despite_full_memory() redis.call('DEL', K.run) end

-- Keeps the invariant: a queue that is not empty has a wake token.
local function wake(pool)
  if redis.call('LLEN', K.wake .. pool) == 0 then redis.call('RPUSH', K.wake .. pool, '1') end
end

-- Of a run that was begun before its owner kept all alive, and nobody will until the next claim: it
-- must be there when its deadline passes, for the sweep to end it.
local function enqueue(id, s, now)
  local queue = s.crashes > 1 and K.suspects or K.queue
  if s.dl > 0 then
    local ms = int(s.dl - now + C.slack_ms)
    for _, stem in ipairs({ K.journal, K.log, K.run, K.job }) do
      redis.call('PEXPIRE', stem .. id, ms)
    end
  end
  redis.call('HSET', K.run .. id, 'st', 'queued', 'owner', '')
  redis.call('ZADD', queue .. s.pool, s.score, id)
  wake(s.pool)
end

-- The next run of a conversation gets its turn, now that nobody has it.
local function advance(conv, now)
  redis.call('HDEL', K.conversation .. conv, 'run')
  while true do
    local id = redis.call('LPOP', K.waiting .. conv)
    if not id then return end
    redis.call('ZREM', K.waits, id)
    local s = state(id)
    if s and s.st == 'waiting' then
      s.score = int(now)
      redis.call('HSET', K.run .. id, 'score', s.score, 'exp', int(now + (s.qto or 0)))
      redis.call('HSET', K.conversation .. conv, 'run', id)
      enqueue(id, s, now)
      return
    end
  end
end

-- Lives of all that a conversation has, from its last change.
local function keep_conversation(conv)
  for _, stem in ipairs({ K.conversation, K.turns, K.places, K.about, K.waiting }) do
    redis.call('PEXPIRE', stem .. conv, S.conversations_ms)
  end
end

-- A turn keeps its place for ever, and is found there by its id.
local function add_turn(conv, id, turn)
  local count = redis.call('RPUSH', K.turns .. conv, turn)
  redis.call('HSET', K.places .. conv, id, int(count - 1))
end

-- A run leaves its conversation, with the turn that it took if it took one.
local function leave_conversation(id, s, outcome, turn, now)
  local key = K.conversation .. s.conv
  redis.call('ZREM', K.waits, id)
  if redis.call('HGET', key, 'run') ~= id then
    redis.call('LREM', K.waiting .. s.conv, 1, id)
    return
  end
  if turn then add_turn(s.conv, id, turn) end
  local status = ({ finished = 'finished', cancelled = 'paused', failed = 'error' })[outcome]
  redis.call('HSET', key, 'updated', int(now), 'status', status)
  redis.call('ZADD', K.conversations .. s.principal, int(now), s.conv)
  redis.call('PEXPIRE', K.conversations .. s.principal, S.conversations_ms)
  keep_conversation(s.conv)
  if turn and s.hooks then
    redis.call('XADD', K.outbox, 'MAXLEN', '~', C.outbox, '*', 'c', s.conv, 'r', id)
  end
  advance(s.conv, now)
end

-- A completion that did not end well is nobody's to find.
local function forget_completion(id, s)
  redis.call('DEL', K.record .. id)
  -- Who asks again under its key is told of it.
  redis.call('PEXPIRE', K.result .. id, s.idem and s.attempt > 0 and s.idem_ms or '0')
  redis.call('ZREM', K.completions .. s.principal, id)
  for mark in string.gmatch(s.lists, '%S+') do redis.call('ZREM', K.listed .. mark, id) end
end

-- The one place where a run stops being: takes it out of every list and gives its slot back.
local function settle(id, s, outcome, turn, now)
  local run = K.run .. id
  redis.call('HSET', run, 'st', 'done', 'out', outcome)
  redis.call('DEL', K.job .. id, K.journal .. id)
  if s.st ~= 'running' then -- which is in no queue
    redis.call('ZREM', K.queue .. s.pool, id)
    if s.crashes > 1 then redis.call('ZREM', K.suspects .. s.pool, id) end
  end
  if s.owner ~= '' then
    redis.call('HDEL', K.held .. s.owner, id)
    if s.cancel ~= '' then redis.call('SREM', K.cancels .. s.owner, id) end
  end
  redis.call('SREM', K.active .. s.principal, id)
  if s.lists and outcome ~= 'finished' then forget_completion(id, s) end
  local kept_ms = s.kept and not s.lists and S.stored_log_ms or S.kept_ms
  redis.call('PEXPIRE', K.log .. id, kept_ms)
  redis.call('PEXPIRE', run, kept_ms)
  local idem = s.idem and K.idem .. s.principal .. ':' .. s.idem
  if idem and string.sub(redis.call('GET', idem) or '', 1, #id) == id then
    -- What nobody began may be asked for anew.
    redis.call('PEXPIRE', idem, s.attempt > 0 and s.idem_ms or '0')
  end
  if s.rhooks then
    redis.call('XADD', K.outbox_responses, 'MAXLEN', '~', C.outbox, '*', 'r', id)
    redis.call('PEXPIRE', K.outbox_responses, S.responses_ms)
  end
  if s.conv then leave_conversation(id, s, outcome, turn, now) end
end

-- Of one that has a record only while that is there: whoever deleted it wants no result.
local function store_result(id, s, result)
  if s.kept and redis.call('EXISTS', K.record .. id) == 0 then return end
  local ms = s.kept and (s.lists and C.completions_ms or C.responses_ms) or 0
  if s.idem and s.attempt > 0 then ms = math.max(ms, tonumber(s.idem_ms)) end
  if ms > 0 then redis.call('SET', K.result .. id, result, 'PX', int(ms)) end
end

-- What is stored of a run of which nothing is known but the event that ended it.
local function bare_result(event) return '{"v":' .. C.folded_version .. ',"end":' .. event .. '}' end

local function bare_turn(id, event, now)
  local failed = cjson.decode(event)
  return cjson.encode({ v = C.turn_version, run_id = id, ended_ms = now, outcome = failed[2],
    message = failed[3] })
end

-- Ends a run from outside its attempt: the epoch rises, so the owner, if any, is fenced.
local function end_run(id, s, event, outcome, now)
  local epoch = next_epoch(s, now)
  append_event(id, s, epoch, event)
  redis.call('HSET', K.run .. id, 'epoch', int(epoch))
  store_result(id, s, bare_result(event))
  local turn = s.conv and s.attempt > 0 and bare_turn(id, event, now)
  settle(id, s, outcome, turn, now)
end
