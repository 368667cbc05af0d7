-- Marks a run as cancelled. Not yet claimed: ends it here. Claimed: tells the owner.
-- ARGV: id reason(JSON-safe words)
-- Returns 'gone', 'done', 'cancelled', or 'told'.
local id, reason = ARGV[1], ARGV[2]
local s = state(id)
if not s then return 'gone' end
if s.st == 'done' then return 'done' end
despite_full_memory()
if s.cancel == '' then
  s.cancel = reason
  redis.call('HSET', K.run .. id, 'cancel', reason)
end
if s.st == 'queued' then
  local event, outcome = overdue(s, now_ms())
  end_run(id, s, event, outcome, now_ms())
  return 'cancelled'
end
redis.call('SADD', K.cancels .. s.owner, id)
redis.call('PUBLISH', K.control .. s.owner, id)
return 'told'
