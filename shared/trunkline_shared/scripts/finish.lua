-- The only way out of a run. By its owner: appends the last frame, which holds the terminal event.
-- By anyone else (stream_id ''): `frame` is the terminal event alone, and the epoch rises first.
-- ARGV: id stream_id frame outcome result retain_ms
-- Returns 'ok' · 'done' it was over already · 'fenced' · 'gone' state or log are · 'full' · 'refused'.
local id, stream_id, frame, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local s = state(id)
if not s then return 'gone' end
if s.st == 'done' then return 'done' end
local answer = 'ok'
if stream_id == '' then
  end_run(id, s, frame, outcome, now_ms())
else
  if tonumber(string.match(stream_id, '^(%d+)')) ~= s.epoch then return 'fenced' end
  local added = redis.pcall('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame)
  if added and type(added) == 'table' and added.err then
    return string.sub(tostring(added.err), 1, 3) == 'OOM' and 'full' or 'refused'
  end
  if added then publish(s.reply, id, stream_id, frame) else answer = 'gone' end
  settle(id, s, outcome)
end
if ARGV[5] ~= '' then redis.call('SET', K.result .. id, ARGV[5], 'PX', ARGV[6]) end
return answer
