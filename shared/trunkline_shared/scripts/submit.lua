-- Admits a run and puts it on its queue. Idempotent by run id: a log that exists answers the same.
-- ARGV: id agent pool principal reply stream lost slots timeout_ms queue_timeout_ms max_concurrent
--       max_queue kept_ms job, and of one that is stored or part of a conversation also
--       record conversation wait_ms max_waiting unknown(create|refuse) model hooks(0|1)
-- Returns {'ok', wait_ms} or {code, wait_ms}.
local id, agent, pool, principal, reply = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_concurrent, max_queue = tonumber(ARGV[11]), tonumber(ARGV[12])
if redis.call('EXISTS', K.log .. id) == 1 then return { 'ok', '0' } end
local now = now_ms()
local record, conv = ARGV[15] or '', ARGV[16] or ''

-- Whether somebody has the turn in the conversation; a code if the run may not be part of it.
local function turn_is_taken()
  local key = K.conversation .. conv
  local whose = redis.call('HGET', key, 'principal')
  if whose and whose ~= principal or not whose and ARGV[19] == 'refuse' then
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

local waits = false
if conv ~= '' then
  local code
  waits, code = turn_is_taken()
  if code then return { code, '0' } end
end

if max_concurrent > 0 and redis.call('SCARD', K.active .. principal) >= max_concurrent then
  return { 'concurrency_limit', wait_ms(pool, now) }
end
if waits then
  if redis.call('LLEN', K.waiting .. conv) >= tonumber(ARGV[18]) then
    return { 'conversation_full', wait_ms(pool, now) }
  end
elseif redis.call('ZCARD', K.queue .. pool) >= max_queue then
  return { 'queue_full', wait_ms(pool, now) }
end
local able = false
for _, worker in ipairs(redis.call('ZREVRANGEBYSCORE', K.workers .. pool, '+inf', now - C.seen_ms)) do
  if redis.call('SISMEMBER', K.agents .. worker, agent) == 1 then
    able = true
    break
  end
end
if not able then return { 'agent_unavailable', wait_ms(pool, now) } end

redis.call('XADD', K.log .. id, '0-1', 'f', '[1,["created",' .. int(now) .. ']]')
redis.call('PEXPIRE', K.log .. id, ARGV[13])
redis.call('HSET', K.run .. id, 'st', 'queued', 'agent', agent, 'pool', pool, 'principal', principal,
  'reply', reply, 'stream', ARGV[6], 'lost', ARGV[7], 'slots', ARGV[8], 'tmo', ARGV[9],
  'exp', int(now + tonumber(ARGV[10])), 'score', int(now))
redis.call('PEXPIRE', K.run .. id, ARGV[13])
redis.call('SET', K.job .. id, ARGV[14], 'PX', ARGV[13])
if record ~= '' then
  redis.call('HSET', K.run .. id, 'kept', '1')
  redis.call('SET', K.record .. id, record, 'PX', C.retention_ms)
end
if conv ~= '' then
  local key, mine = K.conversation .. conv, K.conversations .. principal
  redis.call('HSETNX', key, 'created', int(now))
  redis.call('HSET', key, 'principal', principal, 'updated', int(now), 'model', ARGV[20])
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', int(now - C.retention_ms))
  redis.call('ZADD', mine, int(now), conv)
  redis.call('PEXPIRE', mine, C.retention_ms)
  redis.call('HSET', K.run .. id, 'conv', conv, 'qto', ARGV[10])
  if ARGV[21] == '1' then redis.call('HSET', K.run .. id, 'hooks', '1') end
  if waits then
    local until_ms = int(now + tonumber(ARGV[17]))
    redis.call('HSET', K.run .. id, 'st', 'waiting', 'exp', until_ms)
    redis.call('RPUSH', K.waiting .. conv, id)
    redis.call('ZADD', K.waits, until_ms, id)
  else
    redis.call('HSET', key, 'run', id)
  end
  keep_conversation(conv)
end
redis.call('SADD', K.pools, pool)
redis.call('SADD', K.active .. principal, id)
redis.call('SADD', K.principals, principal)
if not waits then
  redis.call('ZADD', K.queue .. pool, int(now), id)
  wake(pool)
end
return { 'ok', '0' }
