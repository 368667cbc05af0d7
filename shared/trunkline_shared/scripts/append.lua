-- Appends frames to logs, each fenced by its stream id, and publishes what is new.
-- ARGV, for each reply channel: reply follows(a 0 or 1 for each frame, in one word)
--       (id stream_id frame)...
-- Returns 'added' if all were, else one answer of `append_frame` for each.
local answers, at, all_added = {}, 1, true
while at < #ARGV do
  local reply, follows, lines = ARGV[at], ARGV[at + 1], {}
  at = at + 2
  for n = 1, #follows do
    local id, stream_id, frame = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at = at + 3
    local answer = append_frame(id, stream_id, frame, string.byte(follows, n) == 49)
    answers[#answers + 1] = answer
    if answer == 'added' then
      lines[#lines + 1] = id .. ' ' .. stream_id .. ' ' .. frame
    else
      all_added = false
    end
  end
  -- One message for all frames of a reader: receiving costs more than sending.
  if reply ~= '' and lines[1] then redis.call('PUBLISH', reply, table.concat(lines, '\n')) end
end
return all_added and 'added' or answers
