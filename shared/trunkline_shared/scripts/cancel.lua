-- Marks a run as cancelled. Not yet claimed: ends it here. Claimed: tells the owner.
-- ARGV: id reason(JSON-safe words), and `unread` if one is to go on that somebody beside the one who
--       asked reads
-- Returns 'gone', 'done', 'cancelled', 'told', or 'read'.
-- Or all runs of a conversation, of which it leaves nothing if it is to `delete` it:
-- ARGV: id reason conversation|delete principal
-- Returns 'gone' if the principal has no such conversation, or {'ok', ids of the owners told...}.
local reason = ARGV[2]

local function cancel(id)
  local s = state(id)
  if not s then return 'gone' end
  if s.st == 'done' then return 'done' end
  if s.cancel == '' then
    s.cancel = reason
    redis.call('HSET', K.run .. id, 'cancel', reason)
  end
  if s.st ~= 'running' then
    local event, outcome = overdue(s, now_ms())
    end_run(id, s, event, outcome, now_ms())
    return 'cancelled'
  end
  redis.call('SADD', K.cancels .. s.owner, id)
  redis.call('PUBLISH', K.control .. s.owner, id)
  return 'told'
end

despite_full_memory()
if not ARGV[4] then
  if ARGV[3] and redis.call('HEXISTS', K.run .. ARGV[1], 'read') == 1 then return 'read' end
  return cancel(ARGV[1])
end

local conv, principal = ARGV[1], ARGV[4]
local key = K.conversation .. conv
if redis.call('HGET', key, 'principal') ~= principal then return 'gone' end
-- Those that wait first: the end of the one that has the turn would call the next.
local runs = redis.call('LRANGE', K.waiting .. conv, 0, -1)
table.insert(runs, redis.call('HGET', key, 'run') or nil)
if ARGV[3] == 'delete' then
  for _, stem in ipairs({ K.turns, K.places, K.session, K.waiting, K.about }) do
    redis.call('DEL', stem .. conv)
  end
  redis.call('DEL', key)
  redis.call('ZREM', K.conversations .. principal, conv)
end
local answer = { 'ok' }
for _, id in ipairs(runs) do
  if cancel(id) == 'told' then table.insert(answer, id) end
end
return answer
