-- Admits a run and puts it on its queue. Idempotent by run id: a log that exists answers the same.
-- ARGV: id agent pool principal reply stream lost slots timeout_ms queue_timeout_ms max_concurrent
--       max_queue kept_ms job
-- Returns {'ok', wait_ms} or {code, wait_ms}.
local id, agent, pool, principal, reply = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_concurrent, max_queue = tonumber(ARGV[11]), tonumber(ARGV[12])
if redis.call('EXISTS', K.log .. id) == 1 then return { 'ok', '0' } end
local now = now_ms()

if max_concurrent > 0 and redis.call('SCARD', K.active .. principal) >= max_concurrent then
  return { 'concurrency_limit', wait_ms(pool, now) }
end
if redis.call('ZCARD', K.queue .. pool) >= max_queue then
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
redis.call('ZADD', K.queue .. pool, int(now), id)
redis.call('SADD', K.pools, pool)
redis.call('SADD', K.active .. principal, id)
redis.call('SADD', K.principals, principal)
wake(pool)
return { 'ok', '0' }
