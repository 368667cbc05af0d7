-- The only way out of a run. By its owner: appends the last frame, which holds the terminal event.
-- By anyone else (stream_id ''): `frame` is the terminal event alone, and the epoch rises first.
-- ARGV: id stream_id frame outcome, and from an owner: result turn ('' where it has none: what a
--       stored run or a conversation is to know of a failure is then made of the event)
--       follows(0|1: as of `append_frame`)
-- Returns 'ok' · 'done' it was over already · 'gone' the state is · or, from an owner, what
-- `append_frame` answered when the frame could not be added.
local id, stream_id, frame, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local s = state(id)
if not s then return 'gone' end
if s.st == 'done' then return 'done' end
if stream_id == '' then
  despite_full_memory()
  end_run(id, s, frame, outcome, now_ms())
else
  if tonumber(string.match(stream_id, '^(%d+)')) ~= s.epoch then return 'fenced' end
  local answer = append_frame(id, stream_id, frame, ARGV[7] == '1')
  if answer ~= 'added' then despite_full_memory() end
  if answer == 'full' then answer = append_frame(id, stream_id, frame) end
  if answer == 'added' then
    publish(s.reply, id, stream_id, frame)
  elseif answer ~= 'known' and answer ~= 'gone' then
    return answer
  end
  local now, result, turn = s.conv and now_ms(), ARGV[5], ARGV[6]
  if (s.kept or s.idem) and result == '' or s.conv and turn == '' then
    local events = cjson.decode(frame)
    if events[#events][1] == 'failed' then
      local event = cjson.encode(events[#events])
      if result == '' then result = bare_result(event) end
      if s.conv and turn == '' then turn = bare_turn(id, event, now) end
    end
  end
  if result ~= '' then store_result(id, s, result) end
  settle(id, s, outcome, turn ~= '' and turn, now)
end
return 'ok'
