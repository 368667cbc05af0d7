-- Puts runs back at the head of their queues without spending an attempt.
-- ARGV: worker id...
-- Returns the ids that were put back.
local worker = ARGV[1]
local back = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local score = redis.call('HGET', K.held .. worker, id)
  local s = state(id)
  redis.call('HDEL', K.held .. worker, id)
  redis.call('SREM', K.cancels .. worker, id)
  if s and s.st == 'running' and s.owner == worker then
    s.score = score or s.score
    local now = now_ms()
    local event, outcome = overdue(s, now)
    if event then end_run(id, s, event, outcome, now) else enqueue(id, s, now) end
    table.insert(back, id)
  end
end
return back
