-- The only way out of a run. By its owner: appends the last frame, which holds the terminal event.
-- By anyone else (stream_id ''): `frame` is the terminal event alone, and the epoch rises first.
-- ARGV: id stream_id frame outcome, and from an owner: result('' for one that is not stored)
--       turn('' for a run without conversation)
-- Returns 'ok' · 'done' it was over already · 'gone' the state is · or, from an owner, what
-- `append_frame` answered when the frame could not be added.
local id, stream_id, frame, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local s = state(id)
if not s then return 'gone' end
if s.st == 'done' then return 'done' end
despite_full_memory()
if stream_id == '' then
  end_run(id, s, frame, outcome, now_ms())
else
  if tonumber(string.match(stream_id, '^(%d+)')) ~= s.epoch then return 'fenced' end
  local answer = append_frame(id, stream_id, frame)
  if answer == 'added' then
    publish(s.reply, id, stream_id, frame)
  elseif answer ~= 'known' and answer ~= 'gone' then
    return answer
  end
  if ARGV[5] ~= '' then store_result(id, s, ARGV[5]) end
  settle(id, s, outcome, ARGV[6] ~= '' and ARGV[6], now_ms())
end
return 'ok'
