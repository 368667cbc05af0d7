-- Extends a worker's lease and its place among the live workers of its pools.
-- ARGV: worker mode known(count of runs it knows, -1: list them all) draining(0|1)
--       #pools pool... #agents agent... (id epoch)...
--   mode start: the lease must be free · renew: it must be there · recover: it may have been lost,
--   the answer says which of the runs given are still its own
-- Returns {'lost'}, or {'ok', {run ids to cancel}, {held or own run ids} or false}.
local worker, mode, known, draining = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local lease = K.lease .. worker
if mode == 'start' then
  if not redis.call('SET', lease, '1', 'NX', 'PX', S.lease_ttl_ms) then return { 'lost' } end
-- First, because Redis without memory takes it, and then also what follows.
elseif redis.call('PEXPIRE', lease, S.lease_ttl_ms) == 0 then
  if mode == 'renew' then return { 'lost' } end
  redis.call('SET', lease, '1', 'PX', S.lease_ttl_ms)
end

-- Out of memory must not cost the lease: what follows may fail, the renewal stands.
-- The sweep looks at whoever may hold runs, and at every pool that has had a worker: here it is told
-- of them once, where a claim and a submit would do it for each run.
redis.pcall('SADD', K.holders, worker)
redis.pcall('SADD', K.pools, unpack(ARGV, 6, 5 + tonumber(ARGV[5])))
local now, at = now_ms(), 6
for _ = 1, tonumber(ARGV[5]) do
  local pool = ARGV[at]
  if draining then
    redis.pcall('ZREM', K.workers .. pool, worker)
  else
    redis.pcall('ZADD', K.workers .. pool, int(now), worker)
  end
  at = at + 1
end
local agents = tonumber(ARGV[at])
for i = at + 1, at + agents do
  if mode ~= 'renew' then redis.pcall('SADD', K.agents .. worker, ARGV[i]) end
end
redis.pcall('PEXPIRE', K.agents .. worker, S.forget_ms)

local runs = false
if mode == 'recover' then
  runs = {}
  for i = at + agents + 1, #ARGV, 2 do
    local v = redis.call('HMGET', K.run .. ARGV[i], 'st', 'owner', 'epoch')
    if v[1] == 'running' and v[2] == worker and v[3] == ARGV[i + 1] then table.insert(runs, ARGV[i]) end
  end
elseif known ~= redis.call('HLEN', K.held .. worker) then
  runs = redis.call('HKEYS', K.held .. worker)
end
return { 'ok', redis.call('SMEMBERS', K.cancels .. worker), runs }
